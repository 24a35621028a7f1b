"""Suspension and its end."""

from __future__ import annotations

from detectron_operator import reasons
from detectron_operator.plan.attempts import next_attempt
from detectron_operator.plan.deleting import deletions
from detectron_operator.situation import Situation
from detectron_operator.status import Words
from detectron_operator.steps import Event, Plan


def suspend(s: Situation) -> Plan:
    """Stop every pod, each with its own grace period, and say Suspended when none is left."""
    alive = s.gang.alive
    if alive:
        words = Words(
            reason=reasons.SUSPENDING,
            message=f"{len(alive)} pods save a checkpoint and stop, as runPolicy.suspend asks",
        )
        desired = s.status(s.stored.phase or reasons.PENDING, words)
        return Plan(status=desired, delete=deletions(alive, None, s.now))
    words = Words(reason=reasons.SUSPEND_REQUESTED, message="Suspended: runPolicy.suspend is set")
    desired = s.status(reasons.SUSPENDED, words)
    entered = s.stored.phase != reasons.SUSPENDED
    return Plan(status=desired, events=(Event(words.reason, words.message),) if entered else ())


def resume(s: Situation) -> Plan:
    """Decide on the next attempt; a job that was suspended from birth has its first one still before it."""
    attempt = s.gang.attempt + 1 if s.stored.started else s.gang.attempt
    cause = Words(
        reason=reasons.RESUMED, message=f"Resumed as attempt {attempt}: runPolicy.suspend was unset"
    )
    return next_attempt(s, s.history.in_attempt(attempt), phase=reasons.PENDING, cause=cause)
