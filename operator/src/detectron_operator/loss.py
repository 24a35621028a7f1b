"""Pods that nobody will stop: their node is lost, or their kubelet no longer does what it is told.

The operator watches nothing but its own pods: to read nodes is a right over the whole cluster, and what the
node lifecycle controller knows of a node it writes into the pods. A pod that is let go by force may still
run; the trainer's fence keeps it from writing into the output that its successor has opened.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from detectron_operator.manifests.placement import TOLERATED
from detectron_operator.observed import Pod

UNREACHABLE = TOLERATED
"""How long a node that the cluster has given up may still come back."""

OVERDUE = timedelta(seconds=30)
"""How much longer than its grace period a pod may take to stop."""


def lost_at(pod: Pod) -> datetime | None:
    """When a pod counts as lost unless something changes, None where nothing hints at it."""
    if not pod.alive:
        return None
    unreachable = None if pod.unreachable_since is None else pod.unreachable_since + UNREACHABLE
    overdue = None if pod.stop_by is None else pod.stop_by + OVERDUE
    return min(filter(None, (unreachable, overdue)), default=None)


def is_lost(pod: Pod, now: datetime) -> bool:
    """Whether nobody will stop the pod, so that it is to be let go by force."""
    moment = lost_at(pod)
    return moment is not None and moment <= now


def is_left_over(pod: Pod, now: datetime) -> bool:
    """Whether a pod that has ended is still there long after it was to be gone: its kubelet is not."""
    return not pod.alive and pod.stop_by is not None and pod.stop_by + OVERDUE <= now


def next_loss(pods: Iterable[Pod], now: datetime) -> float | None:
    """Seconds until the next of these pods counts as lost."""
    moments = (moment for moment in map(lost_at, pods) if moment is not None and moment > now)
    return min(((moment - now).total_seconds() for moment in moments), default=None)
