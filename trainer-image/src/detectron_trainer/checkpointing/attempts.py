"""Fencing: which attempt of which job owns the output directory."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from detectron_trainer.atomic_file import replaced_atomically
from detectron_trainer.failures import FencedError, OutputNotWritableError

FILE = "attempt"
"""Holds the attempt's number and, from a pod, the job's uid."""


class Attempt(NamedTuple):
    """One life of a job. `job` is its uid, empty in a local run: a job made anew counts from 0 again."""

    number: int
    job: str

    def __str__(self) -> str:
        return f"attempt {self.number}" + (f" of job {self.job}" if self.job else "")


class Fence:
    """The right of one attempt to write into `folder`, lost when a later attempt or another job opens it."""

    def __init__(self, folder: Path, number: int, job: str = "") -> None:
        self._file = folder / FILE
        self._mine = Attempt(number, job)

    def open(self) -> None:
        """Take possession of the folder, made if missing.

        Raises:
            FencedError: a later attempt of the same job has it.
            OutputNotWritableError: it cannot be made or written.
        """
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            owner = self._owner()
            if owner is not None and owner.job == self._mine.job and owner.number > self._mine.number:
                raise self._fenced(owner)
            with replaced_atomically(self._file, "w") as file:
                file.write(" ".join(filter(None, (str(self._mine.number), self._mine.job))) + "\n")
        except OSError as error:
            raise OutputNotWritableError(self._file.parent, error) from error

    def check(self) -> None:
        """Raises FencedError where another attempt has opened the folder since."""
        owner = self._owner()
        if owner is not None and owner != self._mine:
            raise self._fenced(owner)

    def _fenced(self, owner: Attempt) -> FencedError:
        return FencedError(f"{self._file.parent} is fenced by {owner}: this is {self._mine}")

    def _owner(self) -> Attempt | None:
        try:
            number, _, job = self._file.read_text().strip().partition(" ")
        except FileNotFoundError:
            return None
        return Attempt(int(number), job) if number.isdecimal() else None
