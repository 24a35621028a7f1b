"""The end of an attempt, and what follows from it: the next one, or failure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from detectron_operator import reasons
from detectron_operator import status as statuses
from detectron_operator.ending import Ending, of_pods, why_ended
from detectron_operator.history import STEADY, History, back_off
from detectron_operator.plan.attempts import next_attempt
from detectron_operator.plan.finishing import fail
from detectron_operator.situation import Situation
from detectron_operator.status import Words
from detectron_operator.steps import Plan

AFTERMATH = timedelta(minutes=5)
"""How long after a loss others may end of it: torchrun starts workers anew until its budget is spent."""

REJECTION_PAUSE = timedelta(seconds=10)
"""How long to wait after a kubelet rejected a pod: it would do so again at once, and that does not count."""


def ended(s: Situation) -> Ending | None:
    """Why the attempt ended, with what follows; a fatal cause that comes in late counts too."""
    rules = s.job.spec.run_policy.failure_rules
    if not s.gang.current and s.stored.phase == reasons.RESTARTING:
        before = [pod for pod in s.gang.older if pod.attempt == s.gang.attempt - 1]
        late = (ending.under(rules) for ending in of_pods(before))
        return next((ending for ending in late if ending.action == "Fail"), None)
    pods, ran, gone = s.gang.current.values(), s.ran, s.vanished
    ending = why_ended(s.job.name, s.gang.attempt, pods, ran=ran, gone=gone, now=s.now)
    if ending is None:
        return None
    ending = ending.under(rules)
    if ending.action == "Restart" and _follows(s, ending):
        return replace(ending, action="RestartWithoutCounting")
    return ending


def end_attempt(s: Situation, ending: Ending) -> Plan:
    """Fail, or decide on the next attempt."""
    if ending.action == "Fail":
        return fail(s, ending, Words(reason=ending.reason, message=ending.message))
    limit = s.job.spec.run_policy.backoff_limit
    counts = ending.action == "Restart"
    if counts and s.history.restarts >= limit:
        message = f"Failed {limit + 1} times, runPolicy.backoffLimit is {limit}; at last {ending.sentence()}"
        return fail(s, ending, Words(reason=reasons.BACKOFF_LIMIT_EXCEEDED, message=message))
    attempt = s.gang.attempt + 1
    return next_attempt(
        s,
        with_restart(s, ending).in_attempt(attempt),
        phase=reasons.RESTARTING,
        cause=Words(reason=ending.reason, message=f"Restarting as attempt {attempt}: {ending.sentence()}"),
    )


def with_restart(s: Situation, ending: Ending) -> History:
    """The history with the restart that follows from this ending, and the pause before it."""
    running, last = statuses.true_since(s.job.status, "Running"), s.history.last_restart
    # An elastic gang runs on through its losses.
    steady = running is not None and s.now - max(running, last or running) >= STEADY
    counts = ending.action == "Restart"
    history = s.history.restarted(ending.reason, counts=counts, steady=steady)
    pause = pause_before(s, ending, history.in_a_row)
    return replace(
        history,
        last_restart=last if _follows(s, ending) else s.now,
        last_cause=s.record(ending),
        not_before=s.now + pause if pause else None,
    )


def pause_before(s: Situation, ending: Ending, restart: int) -> timedelta:
    """How long the n-th restart in a row waits after this ending."""
    pause = back_off(restart, s.job.spec.run_policy.max_backoff, f"{s.job.uid}-{s.gang.attempt}-{restart}")
    return max(pause, REJECTION_PAUSE) if ending.reason == reasons.POD_REJECTED else pause


def _follows(s: Situation, ending: Ending) -> bool:
    """Whether a pod ends of an earlier loss in its attempt, which it outlived and which has been counted."""
    last, pod = s.history.last_restart, s.gang.current.get(ending.index)
    if last is None or pod is None or not s.history.replacements:
        return False
    return pod.created < last and timedelta() <= s.now - last < AFTERMATH
