"""Fencing: which attempt owns the output directory."""

from __future__ import annotations

from pathlib import Path

from detectron_trainer.checkpoint import replaced_atomically
from detectron_trainer.failures import FencedError, OutputNotWritableError

FILE = "attempt"


class Fence:
    """The right of one attempt to write into `folder`, lost as soon as a later attempt opens it."""

    def __init__(self, folder: Path, attempt: int) -> None:
        self._file = folder / FILE
        self._attempt = attempt

    def open(self) -> None:
        """Take possession of the folder, made if missing.

        Raises:
            FencedError: a later attempt has it.
            OutputNotWritableError: it cannot be made or written.
        """
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self.check()
            with replaced_atomically(self._file, "w") as file:
                file.write(f"{self._attempt}\n")
        except OSError as error:
            raise OutputNotWritableError(self._file.parent, error) from error

    def check(self) -> None:
        """Raises FencedError where a later attempt has opened the folder."""
        owner = self._owner()
        if owner > self._attempt:
            raise FencedError(f"fenced by attempt {owner}: this is attempt {self._attempt}")

    def _owner(self) -> int:
        try:
            text = self._file.read_text().strip()
        except FileNotFoundError:
            return 0
        return int(text) if text.isdecimal() else 0
