"""How long news of a pod may wait for more of the same gang before its job is looked at."""

from __future__ import annotations

from collections.abc import Iterable

from detectron_operator.observed import Pod

GATHER = 0.1
"""Seconds: a gang's pods end together."""
ON_THE_WAY = 1.0
"""While a pod of the gang has yet to come as far as this one, as it will."""
IN_A_RUSH = 1.0
"""For pods that live, while those of other jobs are being created."""
GONE = 0.02
"""For pods that are gone: what follows them waits for nothing else."""
NEVER_RAN = 1.0
"""For pods that are deleted before they ran: whoever does that may do it to the next one, and for ever."""


def patience(pod: Pod, gang: Iterable[Pod], *, gone: bool, in_a_rush: bool) -> float:
    """Seconds that news of a pod may wait: nothing can be done about one that comes to life.

    Args:
        gang: all pods of its job.
        gone: whether it does not exist any more.
        in_a_rush: whether pods of other jobs are being created.
    """
    if pod.phase == "Pending" and (gone or pod.deleting):
        return NEVER_RAN
    if gone:
        return GONE
    if not pod.alive:
        return GATHER
    if in_a_rush:
        return IN_A_RUSH
    awaited = not pod.deleting and any(other.is_behind(pod) for other in gang)
    return ON_THE_WAY if awaited else GATHER
