"""Names of the user's own functions and classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from detectron_trainer.failures import InvalidConfigError
from detectron_trainer.job.user_code import call, judge, load

SOURCE = """
class Outer:
    def method(self): ...
def function(): ...
constant = 3
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "code_of_mine.py").write_text(SOURCE)
    (tmp_path / "broken_code_of_mine.py").write_text("raise ValueError('bad luck')")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_names_may_be_dotted() -> None:
    assert getattr(load("code_of_mine:Outer.method"), "__name__", None) == "method"
    assert judge("code_of_mine:function", "spec.trainer") == []


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("no_such_module:main", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("code_of_mine:main", "cannot be imported: ImportError: code_of_mine has no main"),
        ("broken_code_of_mine:main", "cannot be imported: ValueError: bad luck"),
        ("code_of_mine:constant", "is no function or class"),
    ],
)
def test_what_cannot_be_called_is_told(reference: str, expected: str) -> None:
    (problem,) = judge(reference, "spec.trainer")
    assert str(problem).startswith(f"spec.trainer: {reference} {expected}")


def test_what_is_made_must_be_of_its_kind() -> None:
    assert call("builtins:dict", dict, [("a", 1)]) == {"a": 1}
    with pytest.raises(InvalidConfigError, match="builtins:dict: returned a dict instead of a list"):
        call("builtins:dict", list)
