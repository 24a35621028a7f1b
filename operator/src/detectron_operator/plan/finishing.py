"""The end of a job: success, failure, and freeing what a finished job still holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from detectron_operator import reasons, shape
from detectron_operator import status as statuses
from detectron_operator.ending import Ending
from detectron_operator.plan.deleting import FAILURE_GRACE_SECONDS, deletions
from detectron_operator.situation import Situation
from detectron_operator.status import Words
from detectron_operator.steps import Event, Plan

LINGER = timedelta(seconds=5)
"""How long after node 0 succeeded its peers may end by themselves, so that their logs stay."""


def succeed(s: Situation) -> Plan:
    iteration = s.numbers.get("iteration")
    reached = "" if iteration is None else f" at iteration {iteration}"
    words = Words(reason=reasons.TRAINING_COMPLETED, message=f"Training completed{reached}")
    linger = LINGER.total_seconds() if s.gang.alive else None
    return Plan(status=s.status(reasons.SUCCEEDED, words), requeue_after=linger)


def fail(s: Situation, ending: Ending, words: Words) -> Plan:
    desired = s.status(reasons.FAILED, words) | {"failure": ending.record()}
    return Plan(status=desired, events=(Event(words.reason, words.bounded, "Warning"),), requeue_after=0.0)


def clean_up(s: Situation) -> Plan:
    """Free what a finished job still holds; its numbers change only while its last pods are ending."""
    ending = shape.mapping(s.job.status.get("replicaStatuses", {}), "status.replicaStatuses").get("active")
    desired = {**s.job.status, "observedGeneration": s.job.generation}
    if ending:
        desired |= s.numbers_in(s.stored.phase) | {"replicaStatuses": s.gang.replicas()}
    changed = statuses.changed_fields(s.job.status, desired)
    kept = Plan(status=desired if changed else None)
    if not s.gang.alive:
        return kept
    if s.stored.phase == reasons.FAILED:
        return replace(kept, delete=deletions(s.gang.alive, FAILURE_GRACE_SECONDS, s.now))
    completed = shape.time(s.job.status.get("completionTime"), "status.completionTime")
    left = (completed + LINGER - s.now).total_seconds()
    if 0 < left <= LINGER.total_seconds():
        return replace(kept, requeue_after=left)
    return replace(kept, delete=deletions(s.gang.alive, None, s.now))
