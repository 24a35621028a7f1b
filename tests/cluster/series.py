"""What Prometheus holds of a run against what the run itself wrote to metrics.json."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tests.cluster.prometheus import Series

ITERATION = "detectron_training_iteration"


def rows(metrics_json: str) -> dict[int, dict[str, float]]:
    """The rows of a metrics.json by iteration, in the file's order.

    Raises:
        ValueError: an iteration stands there twice, or they do not ascend.
    """
    found: dict[int, dict[str, float]] = {}
    for line in metrics_json.splitlines():
        row = json.loads(line)
        iteration = int(row.pop("iteration"))
        if found and iteration <= max(found):
            raise ValueError(f"metrics.json: iteration {iteration} after {max(found)}")
        found[iteration] = row
    return found


def by_iteration(values: Iterable[Series], iterations: Iterable[Series]) -> dict[int, float]:
    """A metric's samples by the iteration that the same scrape of the same pod saw."""
    at = {(s.labels["pod"], time): int(value) for s in iterations for time, value in s.samples}
    return {
        at[series.labels["pod"], time]: value
        for series in values
        for time, value in series.samples
        if (series.labels["pod"], time) in at
    }
