"""What is said of a pod in events alone: that a volume cannot be mounted, or its network not be set up.

A pod's own status has no words for it, only the condition PodReadyToStartContainers, false meanwhile.
So events are read of a pod that has stood there for a while, and of no other: a watch of events would bring
the operator those of the whole cluster, which the API server holds in no cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from detectron_operator import shape
from detectron_operator.shape import ShapeError

_LONGEST = 1024


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """Why a pod's node cannot prepare it, and when that was said last."""

    moment: datetime
    reason: str
    message: str


def selector(uid: str) -> str:
    """The field selector of a pod's warnings."""
    return f"involvedObject.uid={uid},type=Warning"


def read(event: Mapping[str, object]) -> Complaint | None:
    """What an event says; None if it is of another shape, as anybody may post events."""
    try:
        moment = shape.time(event.get("lastTimestamp") or event.get("eventTime"), "lastTimestamp")
        reason = shape.text(event.get("reason"), "reason", at_most=128)
        message = shape.text(event.get("message"), "message", at_most=65536)
    except ShapeError:
        return None
    return Complaint(moment=moment, reason=reason, message=" ".join(message.split())[:_LONGEST])


def latest(said: Iterable[Complaint]) -> Complaint | None:
    """What was said last, if anything."""
    return max(said, key=lambda complaint: complaint.moment, default=None)
