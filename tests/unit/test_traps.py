"""docs/detectron2-traps.md names a test for every trap, and each of them exists."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.naive.table import ROOT, rows

ROWS = rows()


def _functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_trap_has_a_test() -> None:
    assert len(ROWS) >= 20
    assert [row.trap for row in ROWS if not row.tests] == []


def test_every_test_that_is_named_exists() -> None:
    named = {tuple(test.split("::")) for row in ROWS for test in row.tests}
    assert sorted(f"{file}::{name}" for file, name in named if name not in _functions(ROOT / file)) == []
