"""Who schedules the gang as a whole: `spec.runPolicy.schedulingPolicy`.

Without it the pods are scheduled one by one, and two jobs that each got half of what they need wait for each
other.
"""

from __future__ import annotations

from dataclasses import dataclass

from detectron_operator import shape
from detectron_operator.api import fields
from detectron_operator.api.fields import Raw
from detectron_operator.shape import ShapeError

_PATH = "spec.runPolicy.schedulingPolicy"


@dataclass(frozen=True, kw_only=True)
class Kueue:
    """The gang waits in a LocalQueue until its quota admits all of it."""

    queue: str
    workload_priority_class: str | None


@dataclass(frozen=True, kw_only=True)
class Volcano:
    """Volcano binds all pods of the gang or none."""

    scheduler_name: str
    queue: str | None


@dataclass(frozen=True, kw_only=True)
class Coscheduling:
    """The Coscheduling plugin (scheduler-plugins) binds all pods of the gang or none."""

    scheduler_name: str
    schedule_timeout_seconds: int


GangScheduling = Kueue | Volcano | Coscheduling


def gang_scheduling(spec: Raw) -> GangScheduling | None:
    """Which of the three, None where the pods are scheduled one by one."""
    run_policy = fields.part(spec, "spec", "runPolicy")
    if "schedulingPolicy" not in run_policy:
        return None
    policy = shape.mapping(run_policy["schedulingPolicy"], _PATH)
    found = [
        _READERS[name](shape.mapping(policy[name], f"{_PATH}.{name}"), f"{_PATH}.{name}")
        for name in _READERS
        if name in policy
    ]
    if len(found) != 1:
        raise ShapeError(_PATH, f"needs exactly one of {', '.join(_READERS)}")
    return found[0]


def _kueue(raw: Raw, path: str) -> GangScheduling:
    return Kueue(
        queue=fields.text(raw, path, "queue"),
        workload_priority_class=fields.optional_text(raw, path, "workloadPriorityClass"),
    )


def _volcano(raw: Raw, path: str) -> GangScheduling:
    return Volcano(
        scheduler_name=fields.text(raw, path, "schedulerName"), queue=fields.optional_text(raw, path, "queue")
    )


def _coscheduling(raw: Raw, path: str) -> GangScheduling:
    return Coscheduling(
        scheduler_name=fields.text(raw, path, "schedulerName"),
        schedule_timeout_seconds=fields.integer(
            raw, path, "scheduleTimeoutSeconds", at_least=1, at_most=86400
        ),
    )


_READERS = {"kueue": _kueue, "volcano": _volcano, "coscheduling": _coscheduling}
