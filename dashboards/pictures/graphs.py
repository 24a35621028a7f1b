"""Panels with axes: lines over time, and points over iterations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from dashboards.pictures import scale
from dashboards.pictures.answers import Series, Span
from dashboards.pictures.model import Panel
from dashboards.pictures.scale import Scale, clock, told
from dashboards.pictures.svg import FAINT, PALETTE, Area, Canvas, wide

Named = tuple[str, Series]
"""A series with what the legend calls it."""
Samples = Sequence[tuple[float, float]]
Line = tuple[str, Samples]
_LEGEND_LINE = 14.0
_LEGEND_LINES = 3


@dataclass(frozen=True)
class Plot:
    """Two scales over an area."""

    area: Area
    x: Scale
    y: Scale

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a pair of values lies."""
        return (
            self.area.x + self.area.width * self.x.at(x),
            self.area.y + self.area.height * (1 - self.y.at(y)),
        )


def over_time(
    canvas: Canvas,
    panel: Panel,
    area: Area,
    found: Iterable[Named],
    span: Span,
    marks: Iterable[tuple[float, str]],
) -> bool:
    """Lines over time, `stacked` as areas that add up, and marks at times; False where there is no line."""
    lines = [
        (name, [(t, v) for t, v in series.samples if math.isfinite(v) and (v > 0 or not panel.logarithmic)])
        for name, series in found
    ]
    lines = [(name, samples) for name, samples in lines if samples]
    if not lines:
        return False
    layers = _stacked([samples for _, samples in lines]) if panel.stacked else [s for _, s in lines]
    values = [value for layer in layers for _, value in layer] + ([0.0] if panel.stacked else [])
    y = scale.logarithmic(values) if panel.logarithmic else scale.linear(values)
    plot = Plot(_legend(canvas, panel, area, lines), scale.elapsed(span.start, span.end), y)
    _axes(canvas, plot, lambda time: clock(time - span.start), lambda value: told(value, panel.unit))
    for time, mark in marks:
        canvas.line(*plot.at(time, y.low), *plot.at(time, y.high), mark, "3 2")
    below: dict[float, float] = {}
    for color, layer in zip(itertools.cycle(PALETTE), layers):
        one = canvas.group("series")
        for piece in pieces(layer, span.step):
            points = [plot.at(*sample) for sample in piece]
            if panel.stacked:
                one.shape([*points, *(plot.at(t, below.get(t, 0.0)) for t, _ in reversed(piece))], color)
            one.path(points, color) if len(points) > 1 else one.dot(*points[0], color)
        below |= dict(layer)
    return True


def over_iterations(canvas: Canvas, panel: Panel, area: Area, found: Sequence[Sequence[Named]]) -> bool:
    """Points: the second query's values over the first's of the same labels; False where there is none."""
    iterations, values = found
    at_time = {(_identity(s), t): value for _, s in iterations for t, value in s.samples}
    lines = [
        (name, sorted({(at_time[_identity(s), t], v) for t, v in s.samples if (_identity(s), t) in at_time}))
        for name, s in values
    ]
    lines = [(name, [pair for pair in pairs if all(map(math.isfinite, pair))]) for name, pairs in lines]
    lines = [(name, pairs) for name, pairs in lines if pairs]
    if not lines:
        return False
    x = scale.linear(iteration for _, pairs in lines for iteration, _ in pairs)
    y = scale.linear(value for _, pairs in lines for _, value in pairs)
    plot = Plot(_legend(canvas, panel, area, lines), x, y)
    _axes(canvas, plot, lambda value: told(value, "none"), lambda value: told(value, panel.unit))
    for color, (_, pairs) in zip(itertools.cycle(PALETTE), lines):
        one = canvas.group("series")
        for pair in pairs:
            one.dot(*plot.at(*pair), color)
    return True


def _identity(series: Series) -> frozenset[tuple[str, str]]:
    return frozenset(series.labels.items())


def _stacked(layers: Iterable[Samples]) -> list[Samples]:
    """Each layer on top of those before."""
    below: dict[float, float] = {}
    tops: list[Samples] = []
    for samples in layers:
        top = [(time, below.get(time, 0.0) + value) for time, value in samples]
        below |= dict(top)
        tops.append(top)
    return tops


def pieces(samples: Samples, step: float) -> Iterator[Samples]:
    """The stretches between the gaps, where a sample is missing."""
    start = 0
    for end in range(1, len(samples) + 1):
        if end == len(samples) or samples[end][0] - samples[end - 1][0] > 1.5 * step:
            yield samples[start:end]
            start = end


def _legend(canvas: Canvas, panel: Panel, area: Area, lines: Sequence[Line]) -> Area:
    """What each line is, with its last value, at the bottom; returns the place above that axes leave."""
    entries = [f"{name}: {told(samples[-1][1], panel.unit)}" for name, samples in lines]
    width = min(max(map(wide, entries)) + 30, area.width)
    columns = max(int(area.width / width), 1)
    shown = min(len(entries), columns * _LEGEND_LINES)
    rows = math.ceil(shown / columns)
    top = area.y + area.height - rows * _LEGEND_LINE
    for number, entry in enumerate(entries[:shown]):
        x, y = area.x + number % columns * width, top + number // columns * _LEGEND_LINE + 10
        if number == shown - 1 and shown < len(entries):
            canvas.text(x, y, f"and {len(entries) - shown + 1} more", fill=FAINT)
            continue
        canvas.box(Area(x, y - 8, 9, 8), PALETTE[number % len(PALETTE)])
        canvas.text(x + 14, y, entry, width=width - 18)
    return area.inside(46, 4, 10, rows * _LEGEND_LINE + 22)


def _axes(canvas: Canvas, plot: Plot, x: Callable[[float], str], y: Callable[[float], str]) -> None:
    area = plot.area
    for tick in plot.y.ticks:
        _, height = plot.at(plot.x.low, tick)
        canvas.line(area.x, height, area.x + area.width, height)
        canvas.text(area.x - 5, height + 3, y(tick), size=9, fill=FAINT, anchor="end", width=44)
    for tick in plot.x.ticks:
        at, _ = plot.at(tick, plot.y.low)
        canvas.line(at, area.y + area.height, at, area.y + area.height + 3, FAINT)
        canvas.text(at, area.y + area.height + 13, x(tick), size=9, fill=FAINT, anchor="middle")
