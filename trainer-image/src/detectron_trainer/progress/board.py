"""The latest progress, shared by the training loop and those who look on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TypedDict, Unpack

from detectron_trainer.progress.document import Progress
from detectron_trainer.progress.parts import BestCheckpoint, Checkpoint, Evaluation, Phase, Verdict


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
