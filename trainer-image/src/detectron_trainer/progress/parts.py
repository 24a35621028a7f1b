"""The parts of a progress document: what each says, and how it is written and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from detectron_trainer.progress.values import (
    metric_list,
    metric_mapping,
    printable,
    timestamp,
    without_nones,
)

_PATH_LENGTH = 512


class Phase(StrEnum):
    STARTING = "Starting"
    TRAINING = "Training"
    EVALUATING = "Evaluating"
    CHECKPOINTING = "Checkpointing"
    FINISHED = "Finished"


class Reason(StrEnum):
    """Why a run ended; the docstrings are in docs/reasons.md, which ``python -m reference`` writes."""

    COMPLETED = "Completed"
    """Training reached its end."""
    PREEMPTED = "Preempted"
    """It was asked to stop, and saved a checkpoint."""
    INVALID_CONFIG = "InvalidConfig"
    """The job cannot be trained as it is written; every mistake with its place."""
    NON_FINITE_LOSS = "NonFiniteLoss"
    """A loss is NaN or infinite, with rank, iteration and losses."""
    OUT_OF_MEMORY = "OutOfMemory"
    """The GPU's memory does not hold the model and its batch."""
    CHECKPOINT_CORRUPT = "CheckpointCorrupt"
    """There are checkpoints, and not one of them can be read."""
    OUTPUT_NOT_WRITABLE = "OutputNotWritable"
    """The output volume is full, read-only or out of reach; the checkpoint before is whole."""
    UNREADABLE_IMAGES = "UnreadableImages"
    """More images cannot be read than `training.maxUnreadableImages` allows; the state is saved."""
    WEIGHTS_UNAVAILABLE = "WeightsUnavailable"
    """The weights to start from cannot be had, or are not those that were asked for."""
    PROCESS_FAILED = "ProcessFailed"
    """Another error; the log has its traceback."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How the run ended; ``retryable`` says whether the same job could go further in another attempt."""

    reason: Reason
    message: str
    retryable: bool
    rank: int | None = None
    iteration: int | None = None

    def document(self, length: int) -> dict[str, object]:
        """The verdict with at most `length` characters of its message."""
        message = printable(self.message)
        return without_nones(
            {
                "reason": self.reason,
                "message": message if len(message) <= length else message[: length - 1] + "…",
                "rank": self.rank,
                "iteration": self.iteration,
                "retryable": self.retryable,
            }
        )

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        return cls(**{**document, "reason": Reason(document["reason"])})


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A saved checkpoint; ``iteration`` counts the completed iterations that it holds."""

    iteration: int
    path: str
    time: datetime

    def document(self) -> dict[str, object]:
        path = printable(self.path)
        return {
            "iteration": self.iteration,
            "path": path if len(path) <= _PATH_LENGTH else "…" + path[1 - _PATH_LENGTH :],
            "time": timestamp(self.time),
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        return cls(**{**document, "time": datetime.fromisoformat(document["time"])})


@dataclass(frozen=True, kw_only=True)
class BestCheckpoint(Checkpoint):
    """The checkpoint whose evaluation had the best `value` so far of `metric`, named as in `Evaluation`."""

    metric: str
    value: float

    def document(self) -> dict[str, object]:
        """Empty where the metric is none that the schema can say."""
        metric = metric_list({self.metric: self.value}, 1)
        if not metric:
            return {}
        return {**super().document(), "metric": metric[0]["name"], "value": metric[0]["value"]}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Results of one evaluation as ratios, named dataset/task/kind such as ``digits_validation/bbox/AP50``.

    ``average_precision`` is that of the first task (segm before keypoints before bbox) of the first dataset.
    """

    iteration: int
    metrics: Mapping[str, float]
    average_precision: float | None = None

    def document(self, count: int) -> dict[str, object]:
        """The evaluation with at most `count` of its metrics."""
        precision = self.average_precision
        return without_nones(
            {
                "iteration": self.iteration,
                # COCO's AP is NaN or -1 where there was nothing to find.
                "averagePrecision": float(precision)
                if precision is not None and 0 <= precision <= 1
                else None,
                "metrics": metric_list(self.metrics, count),
            }
        )

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        return cls(
            iteration=document["iteration"],
            metrics=metric_mapping(document["metrics"]),
            average_precision=document.get("averagePrecision"),
        )
