"""The progress document: what rank 0 tells the operator about the run, and how it ended.

Its schema is ``crds/progress.schema.json``. It is served at ``/progress``, written as termination message and
copied into the job's status, so it is small, finite and valid whatever the training code puts into it.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypedDict, Unpack

VERSION = 1
BYTE_LIMIT = 4096
"""What Kubernetes keeps of a termination message."""

_NAME_LENGTH = 128
_PATH_LENGTH = 512
# Evaluation metrics, training metrics and characters of the verdict to keep: the first row that fits wins.
_BUDGETS = (
    (24, 16, 2048),
    (24, 16, 1024),
    (24, 16, 512),
    (12, 16, 512),
    (12, 8, 512),
    (6, 4, 512),
    (3, 2, 256),
    (0, 0, 256),
    (0, 0, 64),
)


class Phase(StrEnum):
    STARTING = "Starting"
    TRAINING = "Training"
    EVALUATING = "Evaluating"
    CHECKPOINTING = "Checkpointing"
    FINISHED = "Finished"


class Reason(StrEnum):
    """Why a run ended."""

    COMPLETED = "Completed"
    PREEMPTED = "Preempted"
    INVALID_CONFIG = "InvalidConfig"
    NON_FINITE_LOSS = "NonFiniteLoss"
    OUT_OF_MEMORY = "OutOfMemory"
    CHECKPOINT_CORRUPT = "CheckpointCorrupt"
    OUTPUT_NOT_WRITABLE = "OutputNotWritable"
    UNREADABLE_IMAGES = "UnreadableImages"
    PROCESS_FAILED = "ProcessFailed"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How the run ended; ``retryable`` says whether the same job could go further in another attempt."""

    reason: Reason
    message: str
    retryable: bool
    rank: int | None = None
    iteration: int | None = None


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A saved checkpoint; ``iteration`` counts the completed iterations that it holds."""

    iteration: int
    path: str
    time: datetime


@dataclass(frozen=True, kw_only=True)
class BestCheckpoint(Checkpoint):
    """The checkpoint whose evaluation had the best `value` so far of `metric`, named as in `Evaluation`."""

    metric: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Results of one evaluation as ratios, named dataset/task/kind such as ``digits_validation/bbox/AP50``.

    ``average_precision`` is that of the first task (segm before keypoints before bbox) of the first dataset.
    """

    iteration: int
    metrics: Mapping[str, float]
    average_precision: float | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where the run stands; ``iteration`` counts completed iterations, times carry a time zone."""

    phase: Phase
    attempt: int
    world_size: int
    iteration: int
    last_updated_time: datetime
    max_iterations: int | None = None
    estimated_remaining_seconds: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    evaluation: Evaluation | None = None
    last_checkpoint: Checkpoint | None = None
    best_checkpoint: BestCheckpoint | None = None
    verdict: Verdict | None = None

    @property
    def percentage(self) -> int | None:
        """Whole per cent done, 100 only when all iterations are; None where their number is not known."""
        if self.max_iterations is None:
            return None
        if self.iteration >= self.max_iterations:
            return 100
        return self.iteration * 100 // self.max_iterations

    def to_json(self, limit: int = BYTE_LIMIT) -> str:
        """One JSON document of at most `limit` bytes as UTF-8.

        Left out is what the schema cannot say: values that are not finite, empty names and those above 128
        characters. What does not fit goes in this order: the end of the message, evaluation metrics, training
        metrics.

        Raises:
            ValueError: not even the shortest form fits, which a limit of 4096 bytes rules out.
        """
        for evaluation_count, metric_count, message_length in _BUDGETS:
            document = self._document(evaluation_count, metric_count, message_length)
            text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            if len(text.encode()) <= limit:
                return text
        raise ValueError(f"a progress document of at most {limit} bytes cannot hold this: {text}")

    def _document(self, evaluation_count: int, metric_count: int, message_length: int) -> dict[str, object]:
        document: dict[str, object | None] = {
            "version": VERSION,
            "phase": self.phase,
            "attempt": self.attempt,
            "worldSize": self.world_size,
            "iteration": self.iteration,
            "maxIterations": self.max_iterations,
            "progressPercentage": self.percentage,
            "estimatedRemainingSeconds": _seconds(self.estimated_remaining_seconds),
            "metrics": _metrics(self.metrics, metric_count),
            "evaluation": self.evaluation and _evaluation(self.evaluation, evaluation_count),
            "lastCheckpoint": self.last_checkpoint and _checkpoint(self.last_checkpoint),
            "bestCheckpoint": self.best_checkpoint and _best_checkpoint(self.best_checkpoint),
            "lastUpdatedTime": _timestamp(self.last_updated_time),
            "verdict": self.verdict and _verdict(self.verdict, message_length),
        }
        return _without_nones(document)

    @classmethod
    def from_json(cls, text: str | bytes) -> Progress:
        """Read a document that `to_json` wrote.

        Raises:
            ValueError: it is not one.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            evaluation, checkpoint, best, verdict = (
                document.get(key) for key in ("evaluation", "lastCheckpoint", "bestCheckpoint", "verdict")
            )
            return cls(
                phase=Phase(document["phase"]),
                attempt=document["attempt"],
                world_size=document["worldSize"],
                iteration=document["iteration"],
                last_updated_time=datetime.fromisoformat(document["lastUpdatedTime"]),
                max_iterations=document.get("maxIterations"),
                estimated_remaining_seconds=document.get("estimatedRemainingSeconds"),
                metrics=_mapping(document.get("metrics", [])),
                evaluation=evaluation
                and Evaluation(
                    iteration=evaluation["iteration"],
                    metrics=_mapping(evaluation["metrics"]),
                    average_precision=evaluation.get("averagePrecision"),
                ),
                last_checkpoint=checkpoint
                and Checkpoint(**{**checkpoint, "time": datetime.fromisoformat(checkpoint["time"])}),
                best_checkpoint=best
                and BestCheckpoint(**{**best, "time": datetime.fromisoformat(best["time"])}),
                verdict=verdict and Verdict(**{**verdict, "reason": Reason(verdict["reason"])}),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a progress document: {error!r} in {text!r}") from error


class ProgressChanges(TypedDict, total=False):
    """The fields of `Progress` that change while it runs."""

    phase: Phase
    world_size: int
    iteration: int
    max_iterations: int | None
    estimated_remaining_seconds: float | None
    metrics: Mapping[str, float]
    evaluation: Evaluation | None
    last_checkpoint: Checkpoint | None
    best_checkpoint: BestCheckpoint | None
    verdict: Verdict | None


class ProgressBoard:
    """The latest progress, written by the training loop and read by the metrics server's threads."""

    def __init__(self, initial: Progress, clock: Callable[[], datetime]) -> None:
        self._progress = initial
        self._clock = clock
        self._lock = threading.Lock()

    def update(self, **changes: Unpack[ProgressChanges]) -> None:
        """Replace the named fields and set `last_updated_time`."""
        with self._lock:
            self._progress = replace(self._progress, **changes, last_updated_time=self._clock())

    def snapshot(self) -> Progress:
        with self._lock:
            return self._progress


def _metrics(values: Mapping[str, float], count: int) -> list[dict[str, object]]:
    # By name, because the status lists them by unique names.
    named = {_printable(name): float(value) for name, value in values.items()}
    usable = [
        {"name": name, "value": value}
        for name, value in named.items()
        if 0 < len(name) <= _NAME_LENGTH and math.isfinite(value)
    ]
    return usable[:count]


def _mapping(metrics: list[dict[str, Any]]) -> dict[str, float]:
    return {metric["name"]: metric["value"] for metric in metrics}


def _evaluation(evaluation: Evaluation, count: int) -> dict[str, object]:
    precision = evaluation.average_precision
    return _without_nones(
        {
            "iteration": evaluation.iteration,
            # COCO's AP is NaN or -1 where there was nothing to find.
            "averagePrecision": float(precision) if precision is not None and 0 <= precision <= 1 else None,
            "metrics": _metrics(evaluation.metrics, count),
        }
    )


def _checkpoint(checkpoint: Checkpoint) -> dict[str, object]:
    path = _printable(checkpoint.path)
    return {
        "iteration": checkpoint.iteration,
        "path": path if len(path) <= _PATH_LENGTH else "…" + path[1 - _PATH_LENGTH :],
        "time": _timestamp(checkpoint.time),
    }


def _best_checkpoint(best: BestCheckpoint) -> dict[str, object] | None:
    value = _metrics({best.metric: best.value}, 1)
    return {**_checkpoint(best), "metric": value[0]["name"], "value": value[0]["value"]} if value else None


def _verdict(verdict: Verdict, length: int) -> dict[str, object]:
    message = _printable(verdict.message)
    return _without_nones(
        {
            "reason": verdict.reason,
            "message": message if len(message) <= length else message[: length - 1] + "…",
            "rank": verdict.rank,
            "iteration": verdict.iteration,
            "retryable": verdict.retryable,
        }
    )


def _printable(text: str) -> str:
    # Paths may hold bytes that are no UTF-8, which Python carries as surrogates that cannot be encoded.
    return text.encode(errors="replace").decode()


def _seconds(duration: float | None) -> int | None:
    return int(duration) if duration is not None and math.isfinite(duration) and duration >= 0 else None


def _timestamp(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _without_nones(document: dict[str, object | None]) -> dict[str, object]:
    return {key: value for key, value in document.items() if value is not None}
