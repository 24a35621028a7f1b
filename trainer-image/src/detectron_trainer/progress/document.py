"""The progress document: what rank 0 tells the operator about the run, and how it ended.

Its schema is ``crds/progress.schema.json``. It is served at ``/progress``, written as termination message and
copied into the job's status, so it is small, finite and valid whatever the training code puts into it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from detectron_trainer.progress.parts import BestCheckpoint, Checkpoint, Evaluation, Phase, Verdict
from detectron_trainer.progress.values import (
    metric_list,
    metric_mapping,
    timestamp,
    whole_seconds,
    without_nones,
)
from detectron_trainer.progress.work import HICCUP_SECONDS, Work

T = TypeVar("T")

VERSION = 1
BYTE_LIMIT = 4096
"""What Kubernetes keeps of a termination message."""

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
    work: Work | None = None
    verdict: Verdict | None = None

    @property
    def percentage(self) -> int | None:
        """Whole per cent done, 100 only when all iterations are; None where their number is not known."""
        if self.max_iterations is None:
            return None
        if self.iteration >= self.max_iterations:
            return 100
        return self.iteration * 100 // self.max_iterations

    @property
    def stands_still(self) -> bool:
        """Whether an iteration takes far longer than the slow ones, once it is known what those take."""
        if self.phase is not Phase.TRAINING or self.work is None or self.work.slow_iteration is None:
            return False
        return self.work.idle > 2 * self.work.slow_iteration + HICCUP_SECONDS

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
            "estimatedRemainingSeconds": whole_seconds(self.estimated_remaining_seconds),
            "metrics": metric_list(self.metrics, metric_count),
            "evaluation": self.evaluation and self.evaluation.document(evaluation_count),
            "lastCheckpoint": self.last_checkpoint and self.last_checkpoint.document(),
            "bestCheckpoint": (self.best_checkpoint and self.best_checkpoint.document()) or None,
            "lastUpdatedTime": timestamp(self.last_updated_time),
            "work": self.work and self.work.document(),
            "verdict": self.verdict and self.verdict.document(message_length),
        }
        return without_nones(document)

    @classmethod
    def from_json(cls, text: str | bytes) -> Progress:
        """Read a document that `to_json` wrote.

        Raises:
            ValueError: it is not one.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            return cls(
                phase=Phase(document["phase"]),
                attempt=document["attempt"],
                world_size=document["worldSize"],
                iteration=document["iteration"],
                last_updated_time=datetime.fromisoformat(document["lastUpdatedTime"]),
                max_iterations=document.get("maxIterations"),
                estimated_remaining_seconds=document.get("estimatedRemainingSeconds"),
                metrics=metric_mapping(document.get("metrics", [])),
                evaluation=_read(Evaluation.read, document.get("evaluation")),
                last_checkpoint=_read(Checkpoint.read, document.get("lastCheckpoint")),
                best_checkpoint=_read(BestCheckpoint.read, document.get("bestCheckpoint")),
                work=_read(Work.read, document.get("work")),
                verdict=_read(Verdict.read, document.get("verdict")),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a progress document: {error!r} in {text!r}") from error


def _read(read: Callable[[Mapping[str, Any]], T], part: Mapping[str, Any] | None) -> T | None:
    return read(part) if part is not None else None
