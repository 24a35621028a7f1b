"""What the trainer reports, as fields of `.status`: numbers for machines beside text for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from detectron_operator import shape
from detectron_operator.progress import BestCheckpoint, Checkpoint, Progress

FIELDS = frozenset(
    {
        "iteration",
        "maxIterations",
        "progressPercentage",
        "progress",
        "estimatedRemainingSeconds",
        "eta",
        "metrics",
        "evaluation",
        "lastCheckpoint",
        "bestCheckpoint",
        "lastUpdatedTime",
    }
)
_OUTLOOK = frozenset({"estimatedRemainingSeconds", "eta"})
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def merged(status: Mapping[str, object], progress: Progress | None) -> dict[str, object]:
    """The numbers to show: the trainer's newest, and the last known ones of what it has not reported."""
    known = {field: value for field, value in status.items() if field in FIELDS}
    if progress is None:
        return known
    return without_outlook(known) | {
        field: value for field, value in _reported(progress).items() if value is not None
    }


def without_outlook(numbers: Mapping[str, object]) -> dict[str, object]:
    """The same without an ETA, where nothing runs."""
    return {field: value for field, value in numbers.items() if field not in _OUTLOOK}


def wait(stored: Mapping[str, object], desired: Mapping[str, object], now: datetime, period: float) -> float:
    """Seconds until numbers may be written again, a `period` after those that stand there; 0 if they may now.

    Counted on the trainer's own clock, and on ours where the trainer fell silent.
    """
    if "lastUpdatedTime" not in stored:
        return 0.0
    then = shape.time(stored["lastUpdatedTime"], "status.lastUpdatedTime")
    spoke = shape.time(desired.get("lastUpdatedTime"), "status.lastUpdatedTime")
    passed = (max(now, spoke) - then).total_seconds()
    return period - passed if 0 <= passed < period else 0.0


def duration(seconds: int) -> str:
    """The two largest units, such as `1h5m`, `45s` and `3d`."""
    for i, (unit, length) in enumerate(_UNITS[:-1]):
        if seconds >= length:
            count, rest = divmod(seconds, length)
            smaller, smaller_length = _UNITS[i + 1]
            below = rest // smaller_length
            return f"{count}{unit}{below}{smaller}" if below else f"{count}{unit}"
    return f"{seconds}s"


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC to the second, as Kubernetes writes times."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _reported(progress: Progress) -> dict[str, object | None]:
    percentage = _percentage(progress)
    remaining = progress.estimated_remaining_seconds
    return {
        "iteration": progress.iteration,
        "maxIterations": progress.max_iterations,
        "progressPercentage": percentage,
        "progress": None if percentage is None else f"{percentage}%",
        "estimatedRemainingSeconds": remaining,
        "eta": None if remaining is None else duration(remaining),
        "metrics": _metrics(progress.metrics) or None,
        "evaluation": _evaluation(progress),
        "lastCheckpoint": _checkpoint(progress.last_checkpoint),
        "bestCheckpoint": _best_checkpoint(progress.best_checkpoint),
        "lastUpdatedTime": timestamp(progress.last_updated_time),
    }


def _percentage(progress: Progress) -> int | None:
    if progress.progress_percentage is not None or not progress.max_iterations:
        return progress.progress_percentage
    return min(100, 100 * progress.iteration // progress.max_iterations)


def _metrics(pairs: Iterable[tuple[str, float]]) -> list[dict[str, str]]:
    """Six significant digits, as text: two writers of a float never differ by its last bit."""
    return [{"name": name, "value": f"{value:.6g}"} for name, value in pairs]


def _evaluation(progress: Progress) -> dict[str, object] | None:
    evaluation = progress.evaluation
    if evaluation is None:
        return None
    shown: dict[str, object] = {
        "iteration": evaluation.iteration,
        "metrics": _metrics(evaluation.metrics),
    }
    if evaluation.average_precision is not None:
        shown["averagePrecision"] = f"{evaluation.average_precision:.6g}"
    return shown


def _checkpoint(checkpoint: Checkpoint | None) -> dict[str, object] | None:
    if checkpoint is None:
        return None
    return {
        "iteration": checkpoint.iteration,
        "path": checkpoint.path,
        "time": timestamp(checkpoint.time),
    }


def _best_checkpoint(best: BestCheckpoint | None) -> dict[str, object] | None:
    shown = _checkpoint(best)
    if best is None or shown is None:
        return None
    return shown | {"metric": best.metric, "value": f"{best.value:.6g}"}
