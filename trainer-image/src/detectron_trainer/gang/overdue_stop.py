"""Leaving when a stop was asked for and the ranks cannot agree on it.

A peer whose node is gone, or which hangs, leaves the others waiting in an exchange for longer than a pod's
grace period: its connection does not break. No exception comes from there, so a thread acts in their place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from detectron_trainer.gang.stop import StopRequest
from detectron_trainer.progress.document import Progress
from detectron_trainer.progress.parts import Phase

POLL_SECONDS = 1.0
PATIENCE_SECONDS = 10.0
"""Added to twice a slow iteration, within which ranks that live agree on a stop."""


class Board(Protocol):
    """Where the loop shows that it gets on, such as a `ProgressBoard`."""

    def snapshot(self) -> Progress:
        """The latest progress, with the work of this process."""


class OverdueStop:
    """While entered, calls `abandon` when training heeds no stop; again until that returns True.

    `abandon` runs in the watching thread and is expected to end the process, or to return whether it is over.
    """

    def __init__(
        self,
        stop: StopRequest,
        board: Board,
        abandon: Callable[[], bool],
        *,
        poll_seconds: float = POLL_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._stop = stop
        self._board = board
        self._abandon = abandon
        self._poll_seconds = poll_seconds
        self._patience_seconds = patience_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="overdue-stop", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(self._poll_seconds):
            if self._stop.made and self._is_stuck() and self._abandon():
                return

    def _is_stuck(self) -> bool:
        progress = self._board.snapshot()
        if progress.phase is not Phase.TRAINING or progress.work is None:
            return False
        return progress.work.idle > self._patience_seconds + 2 * (progress.work.slow_iteration or 0.0)
