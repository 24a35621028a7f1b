"""Pages that are written from what they tell of are up to date, and every value of the chart is told of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from reference.__main__ import PAGES
from reference.values import CHART, UncommentedValueError, Value, values

SCHEMA: Any = json.loads((CHART / "values.schema.json").read_text())
SMALL: Any = {"properties": {"a": {"properties": {"b": {}, "c": {}}}, "d": {"type": "object"}}}


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.name))
def test_the_pages_are_those_of_today(file: Path) -> None:
    assert file.read_text() == PAGES[file](), "run `python -m reference`"


def test_comments_and_defaults_become_values() -> None:
    text = "# far\n\n# of a\na:\n  # of\n  # b\n  b: [1, x]\n  # of c\n  c: null\n# of d\nd: {x: '1'}\n"
    assert list(values(text, SMALL)) == [
        Value(("a",), None, "of a"),
        Value(("a", "b"), '[1, "x"]', "of b"),
        Value(("a", "c"), "null", "of c"),
        Value(("d",), '{"x": "1"}', "of d"),
    ]


BARE = ["d: 1\n", "# far\n\nd: 1\n", "# of a\na:\n  b: 1\n", "# of a\na:\n# odd\n  b: 1\n"]


@pytest.mark.parametrize("text", BARE)
def test_a_value_without_a_comment_is_refused(text: str) -> None:
    with pytest.raises(UncommentedValueError, match="needs a comment above"):
        list(values(text, SMALL))


def test_every_value_of_the_chart_is_told_of() -> None:
    text = (CHART / "values.yaml").read_text()
    told = {value.path: value.default for value in values(text, SCHEMA)}
    assert set(told) | {("global",)} == set(_named(SCHEMA))
    for path, default in told.items():
        if default is not None:
            assert json.loads(default) == _at(yaml.safe_load(text), path)


def _named(schema: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every path that the schema has a name for."""
    found = schema.get("properties", {}).items()
    return [place for name, inner in found for place in [(*path, name), *_named(inner, (*path, name))]]


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        document = document[name]
    return document
