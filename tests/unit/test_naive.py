"""The naive changes of `python -m tests.naive` are of today's sources, rows and tests, and judged rightly."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.naive.change import OPERATOR, NaiveChange
from tests.naive.changes import CHANGES
from tests.naive.sources import Sources, Verdict
from tests.naive.table import ROOT, Row, rows

ROWS = rows()


def row_of(beginning: str) -> Row:
    (row,) = (row for row in ROWS if row.trap.startswith(beginning))
    return row


def test_every_test_of_every_row_has_a_change() -> None:
    changed = {(row_of(change.trap), change.test) for change in CHANGES}
    assert [(row.trap, test) for row in ROWS for test in row.tests if (row, test) not in changed] == []


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.naive)
def test_a_change_fits_the_source_and_the_row(change: NaiveChange, tmp_path: Path) -> None:
    assert change.test in row_of(change.trap).tests
    source = (ROOT / change.file).read_text()
    copy = tmp_path / change.file
    copy.parent.mkdir(parents=True)
    copy.write_text(source)
    with change.applied(tmp_path):
        assert copy.read_text() != source
        ast.parse(copy.read_text())
    assert copy.read_text() == source


@pytest.mark.parametrize("old", ["absent", "a"])
def test_a_change_of_what_is_not_there_once_is_refused(tmp_path: Path, old: str) -> None:
    (tmp_path / "file.py").write_text("a = a\n")
    change = NaiveChange(trap="", naive="n", file="file.py", old=old, new="", test="", symptom="")
    with (
        pytest.raises(ValueError, match=r"file.py holds '\w+' [02] times, not once \(n\)"),
        change.applied(tmp_path),
    ):
        pass


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return Sources(tmp_path_factory.mktemp("sources"))


@pytest.mark.parametrize(
    ("new", "symptom", "expected", "says"),
    [
        (
            'f"node-{index}"',
            "At index 2 diff",
            Verdict.FAILS,
            "At index 2 diff: 'node-2.train' != 'node-10.train'",
        ),
        ('f"node-{index}"', "At index 0 diff", Verdict.OTHERWISE, "At index 2 diff"),
        ('f"node-{index:04d}"', "", Verdict.SURVIVES, ""),
        ('f"node-{inde', "", Verdict.BROKEN, "SyntaxError"),
    ],
)
def test_a_change_is_judged_by_what_its_test_says(
    sources: Sources, new: str, symptom: str, expected: Verdict, says: str
) -> None:
    change = NaiveChange(
        trap="",
        naive="",
        file=f"{OPERATOR}/names.py",
        old='f"node-{index:03d}"',
        new=new,
        test="tests/unit/test_operator_manifests.py::test_addresses_sort_as_their_nodes",
        symptom=symptom,
    )
    verdict, said = sources.judge(change)
    assert verdict is expected
    assert says in said
