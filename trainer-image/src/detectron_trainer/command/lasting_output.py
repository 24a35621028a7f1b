"""Standard output that outlives its reader."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TextIO


class LastingOutput:
    """Writes to `file` until nobody listens any more (a closed terminal, an ended ``| head``), then nowhere.

    A run must not break off in the middle because a line cannot be shown; `on_gone`, called once, may end it
    in an orderly way.
    """

    def __init__(self, file: TextIO, on_gone: Callable[[], None]) -> None:
        self._file = file
        self._on_gone = on_gone

    @property
    def encoding(self) -> str:
        return self._file.encoding

    def isatty(self) -> bool:
        return self._file.isatty()

    def fileno(self) -> int:
        return self._file.fileno()

    def write(self, text: str) -> int:
        try:
            return self._file.write(text)
        except OSError:
            self._silence()
            return len(text)

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError:
            self._silence()

    def _silence(self) -> None:
        # In place of the descriptor, so that what is still buffered has somewhere to go.
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._file.fileno())
        os.close(nothing)
        self._on_gone()
