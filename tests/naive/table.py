"""The rows of docs/detectron2-traps.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "detectron2-traps.md"
_TEST = re.compile(r"`(tests/[\w/]+\.py::\w+)`")


@dataclass(frozen=True)
class Row:
    """A trap in the document's words, and the tests named beside it as pytest takes them."""

    trap: str
    tests: tuple[str, ...]


def rows() -> list[Row]:
    """All rows, in order."""
    lines = DOCUMENT.read_text().splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return [Row(cell[0], tuple(_TEST.findall(cell[-1]))) for cell in cells if cell[0] != "Trap"]
