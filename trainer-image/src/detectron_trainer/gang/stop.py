"""Asking the run to stop: SIGTERM from torchrun or the kubelet, SIGINT from a terminal."""

from __future__ import annotations

import signal
from types import FrameType


class StopRequest:
    """Becomes `made` at the first SIGTERM or SIGINT; later signals change nothing.

    The loop looks at it at the points where all ranks agree, so that they stop at the same iteration.
    """

    def __init__(self) -> None:
        self.made = False

    def listen(self) -> None:
        """Install the handlers, from the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._receive)

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        # Nothing is logged here: the signal may have come in the middle of writing a log line.
        self.made = True
