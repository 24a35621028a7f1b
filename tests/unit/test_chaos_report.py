"""The published page of the fault suite names tests that exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.report import ELSEWHERE

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("test", [test for _, test in ELSEWHERE])
def test_what_it_leaves_to_other_tests_they_hold(test: str) -> None:
    file, _, name = test.partition("::")
    text = (ROOT / "tests" / "apiserver" / file).read_text()
    assert f"class {name}:" in text or f"def {name}(" in text
