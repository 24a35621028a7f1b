"""The published page of the fault suite says what was measured, and names tests that exist."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chaos.report import ELSEWHERE, page

ROOT = Path(__file__).parents[2]


def test_the_page_is_made_from_the_numbers_beside_it() -> None:
    numbers = json.loads((ROOT / "docs" / "faults.json").read_text())
    assert (ROOT / "docs" / "faults.md").read_text() == page(numbers)


@pytest.mark.parametrize("test", [test for _, test in ELSEWHERE])
def test_what_it_leaves_to_other_tests_they_hold(test: str) -> None:
    file, _, name = test.partition("::")
    text = (ROOT / "tests" / "apiserver" / file).read_text()
    assert f"class {name}:" in text or f"def {name}(" in text
