"""What a job has trained and when, read from its metrics.json while it grows."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.background import Background
from tests.cluster.waiting import wait_until

_PERIOD = 0.02
INTERRUPTION = 2.0
"""Seconds without a new iteration from which on training counts as interrupted."""


@dataclass
class IterationHistory:
    """When each iteration was completed for the first time, and which were trained again.

    A row belongs to one life of the training, for it holds how long that iteration took. A later life that
    repeats an iteration writes another row: rows that change or go away are those trained again.
    """

    first: list[tuple[float, int]] = field(default_factory=list)
    """(time, iterations completed by then), ascending."""
    again: set[int] = field(default_factory=set)
    _rows: Mapping[int, str] = field(default_factory=dict)

    @property
    def completed(self) -> int:
        """The most iterations that were ever complete."""
        return self.first[-1][1] if self.first else 0

    def look(self, rows: Mapping[int, str], now: float) -> None:
        """Take in the file's rows, by iteration, as they are now."""
        self.again |= {iteration for iteration, row in self._rows.items() if rows.get(iteration) != row}
        self._rows = rows
        completed = max(rows, default=-1) + 1
        if completed > self.completed:
            self.first.append((now, completed))

    def recovery(self, since: float) -> float | None:
        """Seconds from `since` to the end of the longest pause in training; None if none was long."""
        times = [since, *(at for at, _ in self.first if at > since)]
        gaps = [(later - earlier, later) for earlier, later in itertools.pairwise(times)]
        longest, end = max(gaps, default=(0.0, since))
        return end - since if longest >= INTERRUPTION else None


class IterationWatch(Background):
    """While entered, keeps the `history` of the run that writes `file`."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__("iterations")
        self.history = IterationHistory()
        self._file, self._clock = file, clock

    def wait(self, completed: int, timeout: float) -> None:
        """Wait until so many iterations are complete."""
        wait_until(lambda: self.history.completed >= completed, timeout, f"iteration {completed}")

    def iterations(self) -> list[int]:
        """The iterations of the file as it is now, in its order."""
        return list(parse(self._text()))

    def _run(self) -> None:
        text = ""
        while not self._over.wait(_PERIOD):
            latest = self._text()
            if latest != text:
                text = latest
                self.history.look(parse(text), self._clock())

    def _text(self) -> str:
        try:
            return self._file.read_text()
        except FileNotFoundError:
            return ""


def parse(text: str) -> dict[int, str]:
    """The whole rows of a metrics.json by iteration."""
    return {int(json.loads(row)["iteration"]): row for row in _whole(text)}


def _whole(text: str) -> Sequence[str]:
    """Rows that are written to their end."""
    return text.splitlines() if text.endswith("\n") else text.splitlines()[:-1]
