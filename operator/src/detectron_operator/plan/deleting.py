"""Which pods to stop, and how much time they get for it."""

from __future__ import annotations

from collections.abc import Iterable

from detectron_operator.observed import Pod
from detectron_operator.steps import DeletePod

FAILURE_GRACE_SECONDS = 10
"""What survivors of a failed gang get: they cannot save a checkpoint together any more."""


def deletions(pods: Iterable[Pod], grace_seconds: int | None) -> tuple[DeletePod, ...]:
    """Deletes what nobody has deleted yet."""
    return tuple(DeletePod(pod.name, pod.uid, grace_seconds) for pod in pods if not pod.deleting)
