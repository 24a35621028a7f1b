"""An EventWriter that keeps the progress board up to date."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from detectron2.utils.events import EventWriter, get_event_storage

from detectron_trainer.metrics.data_wait import data_wait_ratio
from detectron_trainer.metrics.scalars import TOTAL_LOSS, is_component_loss
from detectron_trainer.progress.board import ProgressBoard
from detectron_trainer.progress.remaining_time import RemainingTime


class ProgressWriter(EventWriter):  # type: ignore[misc]  # detectron2 ships no types
    """Copies losses, learning rate and durations, smoothed as in metrics.json, and the ETA to `board`."""

    def __init__(
        self,
        board: ProgressBoard,
        max_iter: int,
        *,
        window_size: int = 20,
        monotonic_clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._max_iter = max_iter
        self._window_size = window_size
        self._remaining = RemainingTime(max_iter, monotonic_clock)

    def write(self) -> None:
        storage = get_event_storage()
        latest: Mapping[str, tuple[float, int]] = storage.latest_with_smoothing_hint(self._window_size)
        values = {name: float(value) for name, (value, _) in latest.items()}
        # After the last iteration Detectron2's loops leave the storage one further.
        completed = min(int(storage.iter) + 1, self._max_iter)
        # Losses come last: where there are more than a document may hold, those are cut.
        names = [n for n in (TOTAL_LOSS, "lr", "time", "data_time") if n in values]
        waiting = data_wait_ratio(storage, self._window_size)
        if waiting is not None:
            values["data_wait_ratio"] = waiting
            names.append("data_wait_ratio")
        names += [name for name in values if is_component_loss(name)]
        self._board.update(
            iteration=completed,
            max_iterations=self._max_iter,
            estimated_remaining_seconds=self._remaining.estimate(completed, values.get("time")),
            metrics={name: values[name] for name in names},
        )
