"""A board with the answers to its queries, as a picture."""

from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as ET

from dashboards.pictures import graphs, readings
from dashboards.pictures.answers import Answers, Series
from dashboards.pictures.graphs import Named
from dashboards.pictures.model import Board, Panel, Target
from dashboards.pictures.svg import COLORS, FAINT, GRID, Area, Canvas, wide

COLUMN, ROW, HEAD, FOOT = 48.0, 29.0, 58.0, 44.0
"""Pixels of the grid's column and row, above and below it."""
GRID_COLUMNS = 24
LABEL = (
    "Drawn by `python -m dashboards.pictures` from Prometheus' answers to the board's queries after real "
    "jobs; not a screenshot of Grafana. Times are minutes:seconds since the beginning of the recording."
)


class PanelError(ValueError):
    """A panel of a kind that has no picture."""


def draw(board: Board, answers: Answers) -> str:
    """The picture of a board as the text of an SVG file; the same for the same arguments.

    Raises:
        PanelError: a panel is of a kind that is not drawn.
    """
    bottom = max(panel.y + panel.height for panel in board.panels)
    width, height = GRID_COLUMNS * COLUMN, HEAD + bottom * ROW + FOOT
    sheet = Canvas.blank(width, height)
    sheet.text(12, 26, board.title, size=18, weight="bold")
    sheet.text(12, 45, board.description, size=12, fill=FAINT, width=width * 0.6)
    _name_marks(sheet, board, width - 12)
    for y, title in board.headings:
        sheet.text(12, HEAD + y * ROW + 20, title, size=13, weight="bold")
    for panel in board.panels:
        _panel(sheet.group("panel"), board, panel, answers)
    sheet.text(12, height - 18, LABEL, fill=FAINT)
    ET.indent(sheet.element, " ")
    return ET.tostring(sheet.element, encoding="unicode") + "\n"


def _panel(canvas: Canvas, board: Board, panel: Panel, answers: Answers) -> None:
    place = Area(panel.x * COLUMN, HEAD + panel.y * ROW, panel.width * COLUMN, panel.height * ROW)
    frame = place.inside(3, 3, 3, 3)
    canvas.box(frame, "#ffffff", GRID)
    canvas.text(frame.x + 10, frame.y + 18, panel.title, size=12, weight="bold", width=frame.width - 16)
    area = frame.inside(10, 26, 10, 8)
    if any((board.uid, target.expr) not in answers.series for target in panel.targets):
        _say(canvas, area, "not recorded")
        return
    found = [_named(target, answers.series[board.uid, target.expr]) for target in panel.targets]
    every = list(itertools.chain.from_iterable(found))
    drawn = bool(every)
    match panel.kind:
        case _ if not every:
            pass
        case "timeseries":
            drawn = graphs.over_time(canvas, panel, area, every, answers.span, _times(board, answers))
        case "xychart":
            drawn = graphs.over_iterations(canvas, panel, area, found)
        case "stat":
            readings.numbers(canvas, panel, area, every)
        case "bargauge":
            readings.bars(canvas, panel, area, every)
        case "table":
            readings.table(canvas, panel, area, every)
        case "state-timeline":
            readings.bands(canvas, area, every, answers.span)
        case kind:
            raise PanelError(f"{board.uid}: {panel.title}: there is no picture of a {kind}")
    if not drawn:
        _say(canvas, area, "no data")


def _named(target: Target, series: tuple[Series, ...]) -> list[Named]:
    """The series that have a value, with what the legend calls them."""
    return [
        (_name(target, one), one) for one in series if any(not math.isnan(value) for _, value in one.samples)
    ]


def _name(target: Target, series: Series) -> str:
    if target.legend != "__auto":
        return re.sub(r"{{(\w+)}}", lambda label: series.labels.get(label[1], ""), target.legend)
    return (
        ", ".join(value for label, value in sorted(series.labels.items()) if label != "__name__") or "value"
    )


def _times(board: Board, answers: Answers) -> list[tuple[float, str]]:
    """When the board has a mark, and of what colour."""
    span = answers.span
    return sorted(
        {
            (value / 1000, COLORS[mark.color])
            for mark in board.marks
            for series in answers.series.get((board.uid, mark.expr), ())
            for _, value in series.samples
            if span.start <= value / 1000 <= span.end
        }
    )


def _name_marks(sheet: Canvas, board: Board, right: float) -> None:
    for mark in board.marks:
        sheet.text(right, 45, mark.name, size=12, anchor="end")
        right -= wide(mark.name, 12) + 10
        sheet.line(right, 34, right, 48, COLORS[mark.color], "3 2")
        right -= 14


def _say(canvas: Canvas, area: Area, words: str) -> None:
    canvas.text(area.x + area.width / 2, area.y + area.height / 2 + 4, words, fill=FAINT, anchor="middle")
