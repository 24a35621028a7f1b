"""What a picture needs of a board in Grafana's model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dashboards.board import Mark


@dataclass(frozen=True)
class Target:
    """A query of a panel; `legend` names its series, with `{{label}}` for a label's value."""

    name: str
    expr: str
    legend: str
    instant: bool


@dataclass(frozen=True)
class Panel:
    """A panel at its place in the grid of 24 columns; `columns` are a table's, by the labels they show."""

    kind: str
    title: str
    unit: str
    x: int
    y: int
    width: int
    height: int
    targets: tuple[Target, ...]
    stacked: bool
    logarithmic: bool
    named: bool
    steps: tuple[tuple[float, str], ...]
    columns: Mapping[str, str]
    sorted_by: str


@dataclass(frozen=True)
class Board:
    """A board as it is drawn. `headings` are (y, title); `several` are the variables that allow for all."""

    uid: str
    title: str
    description: str
    headings: tuple[tuple[int, str], ...]
    panels: tuple[Panel, ...]
    marks: tuple[Mark, ...]
    several: frozenset[str]


def parse(text: str) -> Board:
    """Read a board as the chart ships it."""
    board = json.loads(text)
    rows = [panel for panel in board["panels"] if panel["type"] == "row"]
    return Board(
        uid=board["uid"],
        title=board["title"],
        description=board["description"],
        headings=tuple((row["gridPos"]["y"], row["title"]) for row in rows),
        panels=tuple(_panel(panel) for panel in board["panels"] if panel["type"] != "row"),
        marks=tuple(
            Mark(mark["name"], mark["expr"], mark["iconColor"])
            for mark in board["annotations"].get("list", ())
        ),
        several=frozenset(item["name"] for item in board["templating"]["list"] if item["includeAll"]),
    )


def _panel(panel: Mapping[str, Any]) -> Panel:
    defaults, options, place = panel["fieldConfig"]["defaults"], panel["options"], panel["gridPos"]
    custom = defaults.get("custom", {})
    changes = {change["id"]: change["options"] for change in panel.get("transformations", ())}
    renamed = changes.get("organize", {}).get("renameByName", {})
    shown = changes.get("filterFieldsByName", {}).get("include", {}).get("names", ())
    return Panel(
        kind=panel["type"],
        title=panel["title"],
        unit=defaults["unit"],
        x=place["x"],
        y=place["y"],
        width=place["w"],
        height=place["h"],
        targets=tuple(
            Target(target["refId"], target["expr"], target["legendFormat"], target["instant"])
            for target in panel["targets"]
        ),
        stacked=custom.get("stacking", {}).get("mode") == "normal",
        logarithmic=custom.get("scaleDistribution", {}).get("type") == "log",
        named=options.get("textMode") == "name",
        steps=tuple(
            (float("-inf") if step["value"] is None else step["value"], step["color"])
            for step in defaults.get("thresholds", {}).get("steps", ())
        ),
        columns={name: renamed.get(name, name) for name in shown},
        sorted_by=next((by["displayName"] for by in options.get("sortBy", ())), ""),
    )
