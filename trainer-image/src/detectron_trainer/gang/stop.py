"""Asking the run to stop: SIGTERM from torchrun or the kubelet, SIGINT from a terminal."""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType

_STOPS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Becomes `made` at the first SIGTERM or SIGINT; later signals change nothing.

    The loop looks at it at the points where all ranks agree, so that they stop at the same iteration.
    """

    def __init__(self) -> None:
        self.made = False
        self._seen = False
        self._arrivals: int | None = None

    def listen(self) -> None:
        """Install the handlers, from the main thread, and note signals whoever handles them later."""
        for number in _STOPS:
            signal.signal(number, self._receive)
        self._arrivals, noted = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(noted, warn_on_full_buffer=False)
        # What a data loader's worker is told is not said to this process.
        os.register_at_fork(after_in_child=_note_nothing)

    def came(self) -> bool:
        """Whether such a signal has come, even where handlers of somebody else have replaced ours."""
        if self._arrivals is not None:
            with contextlib.suppress(BlockingIOError):
                while numbers := os.read(self._arrivals, 4096):
                    self._seen = self._seen or not set(numbers).isdisjoint(_STOPS)
        return self.made or self._seen

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        # Nothing is logged here: the signal may have come in the middle of writing a log line.
        self.made = True


def _note_nothing() -> None:
    signal.set_wakeup_fd(-1)
