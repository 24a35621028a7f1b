"""Which pods to stop, and how much time they get for it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from detectron_operator.loss import is_lost
from detectron_operator.observed import Pod
from detectron_operator.steps import DeletePod

FAILURE_GRACE_SECONDS = 10
"""What survivors of a failed gang get: they cannot save a checkpoint together any more."""


def deletions(pods: Iterable[Pod], grace_seconds: int | None, now: datetime) -> tuple[DeletePod, ...]:
    """Deletes what nobody has deleted yet, and by force, once, what is lost."""
    found = []
    for pod in pods:
        if is_lost(pod, now):
            if not pod.deleting or pod.grace_seconds != 0:
                found.append(DeletePod(pod.name, pod.uid, 0))
        elif not pod.deleting:
            found.append(DeletePod(pod.name, pod.uid, grace_seconds))
    return tuple(found)
