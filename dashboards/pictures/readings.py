"""Panels without axes: numbers, bars, tables, and bands of time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dashboards.pictures.answers import Span
from dashboards.pictures.graphs import Named, pieces
from dashboards.pictures.model import Panel
from dashboards.pictures.scale import clock, elapsed, told
from dashboards.pictures.svg import COLORS, FAINT, GRID, Area, Canvas

_ROW = 22.0


def numbers(canvas: Canvas, panel: Panel, area: Area, found: Sequence[Named]) -> None:
    """The newest value of each series, large and in the colour of its step; `named` shows its name."""
    room = area.width / len(found)
    for place, (name, series) in enumerate(found):
        value = _newest(series.samples)
        text = name if panel.named else told(value, panel.unit)
        size = min(30.0, room / max(len(text), 1) * 1.6)
        middle = area.x + room * (place + 0.5)
        color = [color for at_least, color in panel.steps if value >= at_least][-1]
        canvas.text(
            middle, area.y + area.height / 2 + 8, text, size=size, fill=COLORS[color], anchor="middle"
        )


def bars(canvas: Canvas, panel: Panel, area: Area, found: Sequence[Named]) -> None:
    """The newest value of each series as a bar beside its name."""
    values = [(name, _newest(series.samples)) for name, series in found]
    largest = max(abs(value) for _, value in values) or 1.0
    left, right = area.width * 0.36, 62.0
    for y, (name, value) in zip(_rows(canvas, area, len(values)), values, strict=False):
        canvas.text(area.x, y + 14, name, width=left - 6)
        whole = area.width - left - right
        canvas.box(Area(area.x + left, y + 3, whole, _ROW - 7), GRID)
        canvas.box(Area(area.x + left, y + 3, whole * max(value, 0.0) / largest, _ROW - 7), COLORS["blue"])
        canvas.text(area.x + area.width, y + 14, told(value, panel.unit), anchor="end")


def table(canvas: Canvas, panel: Panel, area: Area, found: Sequence[Named]) -> None:
    """A row for each series: the labels that are columns, and its value."""
    rows = [(_newest(series.samples), series.labels) for _, series in found]
    if panel.columns.get("Value") == panel.sorted_by:
        rows.sort(key=lambda row: row[0])
    width = area.width / len(panel.columns)
    for number, title in enumerate(panel.columns.values()):
        canvas.text(area.x + number * width, area.y + 12, title, fill=FAINT, weight="bold", width=width - 8)
    body = area.inside(0, 18, 0, 0)
    for y, (value, labels) in zip(_rows(canvas, body, len(rows)), rows, strict=False):
        canvas.line(area.x, y, area.x + area.width, y)
        for number, column in enumerate(panel.columns):
            text = told(value, panel.unit) if column == "Value" else labels.get(column, "")
            canvas.text(area.x + number * width, y + 15, text, width=width - 8)


def bands(canvas: Canvas, area: Area, found: Sequence[Named], span: Span) -> None:
    """When each series was 1."""
    place, time = area.inside(90, 0, 10, 16), elapsed(span.start, span.end)
    height, bottom = place.height / len(found), area.y + area.height - 3
    for number, (name, series) in enumerate(found):
        y = place.y + number * height
        canvas.text(place.x - 8, y + height / 2 + 3, name, size=min(10.0, height - 2), anchor="end")
        canvas.line(place.x, y + height, place.x + place.width, y + height)
        one = canvas.group("series")
        for piece in pieces([sample for sample in series.samples if sample[1] == 1], span.step):
            start, end = piece[0][0], min(piece[-1][0] + span.step, span.end)
            x, width = place.x + place.width * time.at(start), place.width * (time.at(end) - time.at(start))
            one.box(Area(x, y + 1, width, height - 2), COLORS["blue"])
    for tick in time.ticks:
        x, words = place.x + place.width * time.at(tick), clock(tick - span.start)
        canvas.text(x, bottom, words, size=9, fill=FAINT, anchor="middle")


def _newest(samples: Sequence[tuple[float, float]]) -> float:
    return [value for _, value in samples if not math.isnan(value)][-1]


def _rows(canvas: Canvas, area: Area, count: int) -> list[float]:
    """Where rows begin; those that do not fit are counted in the place of the last."""
    fit = max(int(area.height / _ROW), 1)
    shown = count if count <= fit else fit - 1
    if shown < count:
        text = f"and {count - shown} more"
        canvas.text(area.x, area.y + shown * _ROW + 15, text, fill=FAINT)
    return [area.y + number * _ROW for number in range(shown)]
