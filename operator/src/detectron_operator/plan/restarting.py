"""The end of an attempt, and what follows from it: the next one, or failure."""

from __future__ import annotations

from datetime import timedelta

from detectron_operator import reasons
from detectron_operator import status as statuses
from detectron_operator.ending import Ending, final_verdict, why_ended
from detectron_operator.plan.attempts import next_attempt
from detectron_operator.plan.finishing import fail
from detectron_operator.situation import Situation
from detectron_operator.status import Words
from detectron_operator.steps import Plan

REJECTION_PAUSE = timedelta(seconds=10)
"""How long to wait after a kubelet rejected a pod: it would do so again at once, and that does not count."""


def ended(s: Situation) -> Ending | None:
    """Why the attempt ended; a verdict that comes in while the next one is still to start counts too."""
    if not s.gang.current and s.stored.phase == reasons.RESTARTING:
        return final_verdict(pod for pod in s.gang.older if pod.attempt == s.gang.attempt - 1)
    ran = s.stored.phase == reasons.RUNNING and s.stored.attempt == s.gang.attempt
    expected = s.gang.size if ran else 0
    return why_ended(s.job.name, s.gang.attempt, s.gang.current.values(), expected=expected)


def end_attempt(s: Situation, ending: Ending) -> Plan:
    """Fail, or decide on the next attempt."""
    if not ending.retryable:
        return fail(s, ending, Words(reason=ending.reason, message=ending.message))
    limit = s.job.spec.run_policy.backoff_limit
    if ending.counts and s.stored.restarts >= limit:
        message = f"Failed {limit + 1} times, runPolicy.backoffLimit is {limit}; at last {ending.sentence()}"
        return fail(s, ending, Words(reason=reasons.BACKOFF_LIMIT_EXCEEDED, message=message))
    attempt = s.gang.attempt + 1
    return next_attempt(
        s,
        attempt,
        phase=reasons.RESTARTING,
        cause=Words(reason=ending.reason, message=f"Restarting as attempt {attempt}: {ending.sentence()}"),
        event_type="Warning" if ending.counts else "Normal",
        restarts=s.stored.restarts + ending.counts,
    )


def left_of_pause(s: Situation) -> float:
    """Seconds until an attempt may follow one of which a kubelet rejected a pod."""
    rejected = statuses.condition_reason(s.job.status, "Restarting") == reasons.POD_REJECTED
    if s.gang.current or not s.gang.older or not rejected:
        return 0.0
    passed = s.now - max(pod.created for pod in s.gang.older)
    return (REJECTION_PAUSE - passed).total_seconds() if timedelta() <= passed < REJECTION_PAUSE else 0.0
