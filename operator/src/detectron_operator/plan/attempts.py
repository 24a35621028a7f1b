"""Deciding on the next attempt, which the plan after this one carries out."""

from __future__ import annotations

from detectron_operator import reasons
from detectron_operator.gang import NO_REPLICAS
from detectron_operator.history import History
from detectron_operator.situation import Situation
from detectron_operator.status import Words
from detectron_operator.steps import Event, Plan


def next_attempt(
    s: Situation,
    history: History,
    *,
    phase: str,
    cause: Words,
) -> Plan:
    """Write the attempt down; the next plan, made at once, carries it out."""
    words = Words(reason=reasons.CREATING, message=cause.message)
    desired = s.status(phase, words, cause=cause, history=history, replicas=NO_REPLICAS)
    return Plan(status=desired, events=(Event(cause.reason, cause.bounded),), requeue_after=0.0)
