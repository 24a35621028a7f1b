"""The latest progress, shared by the training loop and those who look on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TypedDict, Unpack

from detectron_trainer.progress.document import Progress
from detectron_trainer.progress.parts import BestCheckpoint, Checkpoint, Evaluation, Phase, Verdict
from detectron_trainer.progress.work import WorkLog


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
    """The latest progress, written by the training loop and read by the metrics server's threads.

    Every write shows that the run gets on. `clock` tells the time of day, `monotonic_clock` seconds.
    """

    def __init__(
        self,
        initial: Progress,
        clock: Callable[[], datetime],
        monotonic_clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._progress = initial
        self._clock = clock
        self._log = WorkLog(initial.last_updated_time, initial.phase, monotonic_clock)
        self._lock = threading.Lock()

    def update(self, **changes: Unpack[ProgressChanges]) -> None:
        """Replace the named fields and set `last_updated_time`."""
        with self._lock:
            if "phase" in changes:
                self._log.enter(changes["phase"])
            self._log.got_on()
            self._progress = replace(self._progress, **changes, last_updated_time=self._clock())

    def complete_iteration(self, completed: int) -> None:
        """One more iteration is trained, which makes `completed` of them in all lives of the run."""
        with self._lock:
            self._log.complete_iteration()
            self._progress = replace(self._progress, iteration=completed, last_updated_time=self._clock())

    def got_on(self) -> None:
        """Show that work goes on which changes no field."""
        with self._lock:
            self._log.got_on()

    def snapshot(self) -> Progress:
        with self._lock:
            return replace(self._progress, work=self._log.work())
