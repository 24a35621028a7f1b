"""The matrix in which the chart is installed on the real cluster leaves no switch of its values out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.matrix.disturbance import DISTURBANCES
from tests.matrix.report import page
from tests.matrix.switches import flipped, left_out, switches
from tests.matrix.variants import UNTRIED, variants

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "detectron-operator"
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
VARIANTS = variants(f"sha256:{'0' * 64}", f"sha256:{'1' * 64}")

SMALL: dict[str, Any] = {
    "properties": {
        "on": {"type": "boolean"},
        "scope": {"enum": ["a", "b", "c"]},
        "size": {"type": "integer"},
        "part": {"properties": {"labels": {"type": "object"}, "names": {"type": "array"}}},
    }
}
SMALL_DEFAULTS = {"on": True, "scope": "a", "size": 1, "part": {"labels": {}, "names": ["x"]}}


def test_a_switch_is_whatever_has_no_parts() -> None:
    assert dict(switches(SMALL)) == {
        "on": (True, False),
        "scope": ("a", "b", "c"),
        "size": (),
        "part.labels": (),
        "part.names": (),
    }


def test_what_nobody_tries_is_found() -> None:
    assert left_out(SMALL, SMALL_DEFAULTS, [{}]) == {
        *("on=false", "scope=b", "scope=c", "size", "part.labels", "part.names")
    }
    tried: list[dict[str, Any]] = [
        {"on": False, "scope": "b", "size": 1},
        {"scope": "c", "part": {"names": []}},
    ]
    assert left_out(SMALL, SMALL_DEFAULTS, tried) == {"scope=a", "size", "part.labels"}


def test_what_is_not_as_by_default_is_told() -> None:
    values = {"on": False, "scope": "a", "size": 2, "part": {"labels": {"a": "b"}, "names": []}}
    assert flipped(SMALL, SMALL_DEFAULTS, values) == ["on=false", "size=2", "part.labels", "part.names"]


def test_every_switch_of_the_chart_is_tried_or_has_a_reason() -> None:
    """A new value of the chart belongs in a variant of tests/matrix/variants.py."""
    assert left_out(SCHEMA, DEFAULTS, [variant.values for variant in VARIANTS]) == UNTRIED.keys()


def test_the_page_is_made_from_the_numbers_beside_it() -> None:
    numbers = json.loads((ROOT / "docs" / "chart-matrix.json").read_text())
    assert (ROOT / "docs" / "chart-matrix.md").read_text() == page(numbers)


def test_all_of_it_was_measured() -> None:
    numbers = json.loads((ROOT / "docs" / "chart-matrix.json").read_text())
    assert [each["name"] for each in numbers["installations"]] == [variant.name for variant in VARIANTS]
    assert [each["name"] for each in numbers["disturbances"]] == [each.name for each in DISTURBANCES]
