"""The end of a job: success and failure."""

from __future__ import annotations

from datetime import timedelta

from detectron_operator import reasons
from detectron_operator.ending import Ending
from detectron_operator.observed import Pod
from detectron_operator.situation import Situation
from detectron_operator.status import Words
from detectron_operator.steps import Event, Plan

LINGER = timedelta(seconds=5)
"""How long after node 0 succeeded its peers may end by themselves, so that their logs stay."""


def succeed(s: Situation) -> Plan:
    iteration = s.numbers.get("iteration")
    reached = "" if iteration is None else f" at iteration {iteration}"
    again = sum(s.history.by_reason.values())
    after = {0: "", 1: " after a restart"}.get(again, f" after {again} restarts")
    words = Words(reason=reasons.TRAINING_COMPLETED, message=f"Training completed{reached}{after}")
    linger = LINGER.total_seconds() if s.gang.alive else None
    event = Event(words.reason, words.bounded)
    return Plan(status=s.status(reasons.SUCCEEDED, words), events=(event,), requeue_after=linger)


def fail(s: Situation, ending: Ending | None, words: Words, *, waited_for: Pod | None = None) -> Plan:
    """Fail the job; without an ending no pod is to blame, unless for one that was waited for in vain."""
    record = _unended(s, words, waited_for) if ending is None else s.record(ending)
    desired = s.status(reasons.FAILED, words) | {"failure": record}
    return Plan(status=desired, events=(Event(words.reason, words.bounded, fatal=True),), requeue_after=0.0)


def _unended(s: Situation, words: Words, waited_for: Pod | None) -> dict[str, object]:
    """The record of a failure that no pod's end has caused."""
    known = {
        "reason": words.reason,
        "message": words.bounded,
        "pod": waited_for.name if waited_for else None,
        "node": waited_for.node or None if waited_for else None,
        "iteration": s.iteration_in(s.gang.attempt),
    }
    return {field: value for field, value in known.items() if value is not None}
