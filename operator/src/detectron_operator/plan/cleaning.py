"""What a job no longer needs: its oldest dead pods, all that it holds once it has ended, and then itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from detectron_operator import reasons, shape
from detectron_operator import status as statuses
from detectron_operator.api.run_policy import CleanPodPolicy
from detectron_operator.plan.deleting import FAILURE_GRACE_SECONDS, deletions
from detectron_operator.plan.finishing import LINGER
from detectron_operator.situation import Situation
from detectron_operator.steps import DeletePod, Plan

KEPT = 10
"""The newest attempts, and pods at one node index of an attempt, of which the dead stay for their logs.

Restarts that do not count are without end, and so are an elastic gang's replacements.
"""


def clean_up(s: Situation) -> Plan:
    """Free what a finished job still holds; its numbers change only while its last pods are ending."""
    completed = shape.time(s.job.status.get("completionTime"), "status.completionTime")
    left = left_to_live(s.job.status, s.job.spec.run_policy.time_to_live, s.now)
    if left is not None and left <= 0:
        return Plan(delete_job=True)
    status = _last_numbers(s)
    waits = [] if left is None else [left]
    linger = _left_to_linger(s, completed)
    if linger > 0:
        waits.append(linger)
    return Plan(
        status=status,
        delete=() if linger > 0 else _pods_to_stop(s, settled=status is None),
        requeue_after=min(waits, default=None),
    )


def left_to_live(status: Mapping[str, object], live: timedelta | None, now: datetime) -> float | None:
    """Seconds until a finished job is deleted, which lives so long after its end; None where it stays."""
    if live is None:
        return None
    return (shape.time(status.get("completionTime"), "status.completionTime") + live - now).total_seconds()


def outdated(s: Situation) -> tuple[DeletePod, ...]:
    """Dead pods before the newest `KEPT` of their kind, unless one shows that training is complete."""
    if s.stored.finished or s.gang.finisher is not None:
        return ()
    attempts = (pod for pod in s.gang.older if pod.attempt <= s.gang.attempt - KEPT)
    counts = s.history.replacements
    replaced = (pod for pod in s.gang.former if pod.replacement <= counts.get(pod.index, 0) - KEPT)
    return deletions((pod for pod in (*attempts, *replaced) if not pod.alive), None, s.now)


def _last_numbers(s: Situation) -> dict[str, object] | None:
    ending = shape.mapping(s.job.status.get("replicaStatuses", {}), "status.replicaStatuses").get("active")
    desired = {**s.job.status, "observedGeneration": s.job.generation}
    if ending:
        desired |= s.numbers_in(s.stored.phase) | {"replicaStatuses": s.gang.replicas()}
    return desired if statuses.changed_fields(s.job.status, desired) else None


def _left_to_linger(s: Situation, completed: datetime) -> float:
    """Seconds that the peers of a node 0 that succeeded still have to end by themselves."""
    if not s.gang.alive or s.stored.phase == reasons.FAILED:
        return 0.0
    left = completed + LINGER - s.now
    return left.total_seconds() if timedelta() < left <= LINGER else 0.0


def _pods_to_stop(s: Situation, *, settled: bool) -> tuple[DeletePod, ...]:
    """Those that run; then, where the job asks for it, those that keep nothing but their logs."""
    if s.gang.alive:
        # A gang that failed can save no checkpoint any more; one that merely took too long can.
        healthy = statuses.condition_reason(s.job.status, "Failed") in (None, reasons.DEADLINE_EXCEEDED)
        return deletions(s.gang.alive, None if healthy else FAILURE_GRACE_SECONDS, s.now)
    all_go = s.job.spec.run_policy.clean_pods is CleanPodPolicy.ALL
    return deletions(s.gang.pods, None, s.now) if all_go and settled else ()
