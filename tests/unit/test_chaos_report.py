"""The published page of the fault suite says what was measured, and names tests that exist."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from tests.chaos.report import ELSEWHERE, page, publish
from tests.chaos.scenario import Outcome

ROOT = Path(__file__).parents[2]
MACHINE = {"cpu": "cpu", "cores": 2, "memoryGiB": 8.0, "kernel": "6.1"}


def test_the_page_is_made_from_the_numbers_beside_it() -> None:
    numbers = json.loads((ROOT / "docs" / "faults.json").read_text())
    assert (ROOT / "docs" / "faults.md").read_text() == page(numbers)


def outcome(name: str, recovered: float) -> Outcome:
    return Outcome(
        name=name,
        noticed=None,
        recovered=recovered,
        repeated=0,
        attempts=1,
        causes=[],
        ended="Succeeded",
        load=0.0,
        date="2026-01-01",
        wrong=[],
        late=[],
    )


def test_a_new_row_takes_the_place_of_the_old_one_and_the_others_stay(tmp_path: Path) -> None:
    publish(tmp_path, MACHINE, [outcome("rank-0-killed", 2.0), outcome("worker-killed", 1.0)])
    publish(
        tmp_path,
        MACHINE | {"load": 3.0},
        [dataclasses.replace(outcome("worker-killed", 5.0), date="2026-01-02")],
    )
    written = json.loads((tmp_path / "faults.json").read_text())["outcomes"]
    assert [(row["name"], row["recovered"], row["date"]) for row in written] == [
        ("worker-killed", 5.0, "2026-01-02"),
        ("rank-0-killed", 2.0, "2026-01-01"),
    ]


def test_rows_of_different_machines_do_not_stand_side_by_side(tmp_path: Path) -> None:
    publish(tmp_path, MACHINE, [outcome("rank-0-killed", 2.0)])
    publish(tmp_path, MACHINE | {"cores": 64}, [outcome("worker-killed", 1.0)])
    written = json.loads((tmp_path / "faults.json").read_text())
    assert written["machine"]["cores"] == 64
    assert [row["name"] for row in written["outcomes"]] == ["worker-killed"]
    assert "Not measured yet: SIGKILL of rank 0" in (tmp_path / "faults.md").read_text()


@pytest.mark.parametrize("test", [test for _, test in ELSEWHERE])
def test_what_it_leaves_to_other_tests_they_hold(test: str) -> None:
    file, _, name = test.partition("::")
    text = (ROOT / "tests" / "apiserver" / file).read_text()
    assert f"class {name}:" in text or f"def {name}(" in text
