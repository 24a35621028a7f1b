"""A naive change: what the sources would be like for somebody who does not know the trap."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TRAINER = "trainer-image/src/detectron_trainer"
OPERATOR = "operator/src/detectron_operator"


@dataclass(frozen=True, kw_only=True)
class NaiveChange:
    """Makes one of a row's tests fail.

    Attributes:
        trap: how the row begins in docs/detectron2-traps.md.
        naive: what is naive about it, in a few words.
        file: relative to the repository.
        old: stands in the file exactly once.
        new: stands there instead.
        test: of the row; it must fail.
        symptom: part of what the test then says, which shows that it fails for this reason.
    """

    trap: str
    naive: str
    file: str
    old: str
    new: str
    test: str
    symptom: str

    @contextmanager
    def applied(self, sources: Path) -> Iterator[None]:
        """Change the file in `sources`, a copy of the repository's, and put it back in the end.

        Raises:
            ValueError: `old` does not stand there exactly once.
        """
        path = sources / self.file
        before = path.read_text()
        if (count := before.count(self.old)) != 1:
            raise ValueError(f"{self.file} holds {self.old!r} {count} times, not once ({self.naive})")
        path.write_text(before.replace(self.old, self.new))
        try:
            yield
        finally:
            path.write_text(before)
