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

REJECTION_PAUSE = timedelta(seconds=10)
"""How long to wait after a kubelet rejected a pod: it would do so again at once, and that does not count."""


def ended(s: Situation) -> Ending | None:
    """Why the attempt ended, with what follows; a fatal cause that comes in late counts too."""
    rules = s.job.spec.run_policy.failure_rules
    if not s.gang.current and s.stored.phase == reasons.RESTARTING:
        before = [pod for pod in s.gang.older if pod.attempt == s.gang.attempt - 1]
        late = (ending.under(rules) for ending in of_pods(before))
        return next((ending for ending in late if ending.action == "Fail"), None)
    ran = s.stored.phase == reasons.RUNNING and s.stored.history.attempt == s.gang.attempt
    # An elastic gang need not be whole; one that scales up was not.
    expected = (1 if s.job.spec.elastic_policy.elastic else s.gang.size) if ran else 0
    ending = why_ended(s.job.name, s.gang.attempt, s.gang.current.values(), expected=expected, now=s.now)
    if ending is None:
        return None
    ending = ending.under(rules)
    if ending.action == "Restart" and s.stored.phase == reasons.RESTARTING and s.history.replacements:
        # Survivors that end while a pod is replaced end for the same cause, which has been counted.
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
    running = statuses.true_since(s.job.status, "Running")
    steady = running is not None and s.now - running >= STEADY
    counts = ending.action == "Restart"
    history = s.history.restarted(ending.reason, counts=counts, steady=steady)
    pause = pause_before(s, ending, history.in_a_row)
    return replace(history, not_before=s.now + pause) if pause else history


def pause_before(s: Situation, ending: Ending, restart: int) -> timedelta:
    """How long the n-th restart in a row waits after this ending."""
    pause = back_off(restart, s.job.spec.run_policy.max_backoff, f"{s.job.uid}-{s.gang.attempt}-{restart}")
    return max(pause, REJECTION_PAUSE) if ending.reason == reasons.POD_REJECTED else pause
