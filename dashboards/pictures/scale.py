"""Numbers as people read them: with their unit, and the round ones along an axis."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_LARGE = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k"))
_TIMES = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


def told(value: float, unit: str) -> str:
    """A value in one of Grafana's units."""
    if not math.isfinite(value):
        return str(value)
    match unit:
        case "percentunit":
            return f"{100 * value:.3g}%"
        case "s" | "dtdurations":
            return _duration(value)
        case "bytes":
            power = min(max(int(math.log2(abs(value)) / 10), 0), 4) if value else 0
            return f"{value / 1024**power:.3g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
    if unit == "none" and value.is_integer():
        return f"{value:.0f}"
    for size, letter in _LARGE:
        if abs(value) >= size:
            return f"{value / size * (10 if letter == 'k' else 1):.3g} {letter}"
    return f"{value:.4g}"


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _duration(seconds: float) -> str:
    if 0 < abs(seconds) < 1:
        return f"{1000 * seconds:.3g} ms"
    if abs(seconds) < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if abs(seconds) < 7200 else f"{seconds / 3600:.3g} h"


@dataclass(frozen=True)
class Scale:
    """From values to a place between 0 and 1 on an axis, with the values that its ticks stand for."""

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """The place of a value; a logarithmic scale takes positive ones only."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return (value - low) / (high - low)


def linear(values: Iterable[float]) -> Scale:
    """Round ends around values, from zero on unless they are all far from it."""
    found = list(values)
    low, high = min(found), max(found)
    if 0 < low < high / 2:
        low = 0.0
    if low == high:
        low, high = (low - abs(low) / 2, high + abs(high) / 2) if low else (0.0, 1.0)
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(step * number for number in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], ticks)


def logarithmic(values: Iterable[float]) -> Scale:
    """Powers of ten around positive values."""
    found = list(values)
    first, last = math.floor(math.log10(min(found))), math.ceil(math.log10(max(found)))
    ticks = tuple(10.0**power for power in range(first, max(last, first + 1) + 1))
    return Scale(ticks[0], ticks[-1], ticks, logarithmic=True)


def elapsed(start: float, end: float) -> Scale:
    """Unix times, with ticks at round times since the start."""
    step = next((step for step in _TIMES if (end - start) / step <= 6), _TIMES[-1])
    ticks = tuple(start + step * number for number in range(int((end - start) / step) + 1))
    return Scale(start, end, ticks)
