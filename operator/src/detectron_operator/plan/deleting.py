"""Which pods to stop, and how much time they get for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from detectron_operator.loss import is_left_over, is_lost
from detectron_operator.observed import Pod
from detectron_operator.steps import DeletePod

FAILURE_GRACE_SECONDS = 10
"""What survivors of a failed gang, or of node 0, get: they cannot save a checkpoint any more."""

HUNG_GRACE_SECONDS = 2
"""What the peers of a hung gang get: the one that hangs heeds no signal, and nobody knows which it is."""


def stop_hung(pods: Sequence[Pod], now: datetime) -> tuple[DeletePod, ...]:
    """Stops the peers first: once the broken connection frees rank 0, it saves the last whole iteration."""
    peers, firsts = [pod for pod in pods if pod.index], [pod for pod in pods if not pod.index]
    grace = FAILURE_GRACE_SECONDS + HUNG_GRACE_SECONDS
    return deletions(peers, HUNG_GRACE_SECONDS, now) + deletions(firsts, grace, now)


def deletions(pods: Iterable[Pod], grace_seconds: int | None, now: datetime) -> tuple[DeletePod, ...]:
    """Deletes what nobody has deleted yet, and by force, once, what nobody will let go."""
    found = []
    for pod in pods:
        if is_lost(pod, now) or is_left_over(pod, now):
            if not pod.deleting or pod.grace_seconds != 0:
                found.append(DeletePod(pod.name, pod.uid, 0))
        elif not pod.deleting:
            found.append(DeletePod(pod.name, pod.uid, grace_seconds))
    return tuple(found)
