"""How long the rest of a run will take."""

from __future__ import annotations

from collections.abc import Callable


class RemainingTime:
    """An estimate from the wall clock, in which evaluations and checkpoints count as they did so far.

    Detectron2's own leaves them out: its timer stops while hooks run.
    """

    def __init__(self, max_iter: int | None, clock: Callable[[], float]) -> None:
        self._max_iter = max_iter
        self._clock = clock
        self._first: tuple[float, int] | None = None

    def estimate(self, completed: int, seconds_per_iteration: float | None) -> float | None:
        """Seconds until `max_iter` iterations are completed, None where nothing can be said.

        `seconds_per_iteration` serves until two calls are far enough apart to measure it.
        """
        if self._max_iter is None:
            return None
        now = self._clock()
        if self._first is None or completed < self._first[1]:
            self._first = (now, completed)
        started, base = self._first
        if completed > base:
            seconds_per_iteration = (now - started) / (completed - base)
        if seconds_per_iteration is None:
            return None
        return max(0, self._max_iter - completed) * seconds_per_iteration
