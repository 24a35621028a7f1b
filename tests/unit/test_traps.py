"""docs/detectron2-traps.md names a test for every trap, and each of them exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TRAPS = (ROOT / "docs" / "detectron2-traps.md").read_text()
ROWS = [line for line in TRAPS.splitlines() if line.startswith("| ") and not line.startswith("| Trap |")]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def _functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_trap_has_a_test() -> None:
    assert len(ROWS) >= 20
    assert [row for row in ROWS if not NAMED.search(row.split("|")[-2])] == []


def test_every_test_that_is_named_exists() -> None:
    named = set(NAMED.findall(TRAPS))
    assert sorted(f"{file}::{name}" for file, name in named if name not in _functions(ROOT / file)) == []
