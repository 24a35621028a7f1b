"""What a Prometheus answered to the queries of boards: asked, kept as JSON, read again."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dashboards.pictures.model import Board


class VariableError(ValueError):
    """A query wants a variable that has no value; the message says which."""


@dataclass(frozen=True)
class Span:
    """Unix times of the first and last sample, and seconds between two."""

    start: float
    end: float
    step: float


@dataclass(frozen=True)
class Series:
    """The labels of a time series, and its samples as (Unix time, value)."""

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Answers:
    """The series for each board's queries, which stand there with their variables not filled in."""

    span: Span
    series: Mapping[tuple[str, str], tuple[Series, ...]]

    def to_json(self) -> str:
        """A text that `from_json` reads; a line for each query."""
        lines = [
            json.dumps(
                [board, expr, [[series.labels, *zip(*series.samples, strict=True)] for series in found]]
            )
            for (board, expr), found in self.series.items()
        ]
        span = json.dumps(vars(self.span))
        return f'{{"span": {span},\n"answers": [\n' + ",\n".join(lines) + "\n]}\n"


def from_json(text: str) -> Answers:
    """Read what `to_json` wrote."""
    kept = json.loads(text)
    series = {
        (board, expr): tuple(Series(labels, tuple(zip(*samples, strict=True))) for labels, *samples in found)
        for board, expr, found in kept["answers"]
    }
    return Answers(Span(**kept["span"]), series)


Ask = Callable[[str, Span, bool], Iterable[Series]]
"""Has an expression evaluated over a span, or at its end only."""


def prometheus(url: str) -> Ask:
    """Asks the Prometheus at this address; urllib.error.URLError where it does not answer or understand."""

    def ask(expr: str, span: Span, instant: bool) -> Iterator[Series]:
        given: dict[str, object] = {"query": expr}
        given |= {"time": span.end} if instant else vars(span)
        path = "query" if instant else "query_range"
        address = f"{url.rstrip('/')}/api/v1/{path}?{urllib.parse.urlencode(given)}"
        with urllib.request.urlopen(address, timeout=30) as response:
            answer = json.load(response)
        for found in answer["data"]["result"]:
            yield Series(found["metric"], tuple(map(_sample, found.get("values") or [found["value"]])))

    return ask


def record(boards: Iterable[Board], variables: Mapping[str, str], span: Span, ask: Ask) -> Answers:
    """Ask every query of boards, with those variables at All that allow for it.

    Raises:
        VariableError: a query uses a variable that `variables` does not give.
    """
    found: dict[tuple[str, str], tuple[Series, ...]] = {}
    for board in boards:
        filled = {**variables, **dict.fromkeys(board.several, ".*")}
        queries = [(target.expr, target.instant) for panel in board.panels for target in panel.targets]
        for expr, instant in (*queries, *((mark.expr, False) for mark in board.marks)):
            found[board.uid, expr] = tuple(ask(fill(expr, filled), span, instant))
    return Answers(span, found)


def fill(expr: str, variables: Mapping[str, str]) -> str:
    """An expression with the values of its `$variables`."""

    def value(name: re.Match[str]) -> str:
        if name[1] not in variables:
            raise VariableError(f"{expr}: nothing says what ${name[1]} is; add it to the variables")
        return variables[name[1]]

    return re.sub(r"\$(\w+)", value, expr)


def _sample(sample: Any) -> tuple[float, float]:
    at, value = sample
    return float(at), float(value)
