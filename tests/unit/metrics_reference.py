"""docs/metrics-reference.md, made from the metrics themselves: `python -m tests.unit.metrics_reference`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from detectron_operator.job_metrics import JobCollector
from detectron_operator.metrics import Metrics, StateCollector
from detectron_trainer.metrics.scalars import AveragePrecision
from detectron_trainer.metrics.training_metrics import TrainingMetrics

PAGE = Path(__file__).parents[2] / "docs" / "metrics-reference.md"

_INFO = ("detectron2", "torch", "cuda", "model", "world_size", "config_sha")
_KNOWN: dict[str, Any] = {field.name: 1 for field in fields(TrainingMetrics) if field.default in (None, 0)}
_KNOWN |= {
    "info": dict.fromkeys(_INFO, ""),
    "losses": {"loss_cls": 1.0},
    "scalars": {"name": 1.0},
    "precisions": {
        AveragePrecision(dataset="d", task="t", kind="AP", category=category): 1.0 for category in (None, "c")
    },
    "gpu_memory": {0: (1, 1)},
    "exit_reason": "Completed",
}
FULL_RUN = TrainingMetrics(**_KNOWN)
"""A run of which everything is known, so that no metric is missing."""


def page() -> str:
    """The whole page."""
    metrics = Metrics("")
    own = list(metrics.registry._collector_to_names)
    state = StateCollector(
        depth=lambda: 0,
        oldest_age=lambda: 0.0,
        resynced=lambda: 0.0,
        objects=dict,
        phases=tuple,
    )
    operator = _of_collectors([*own, state])
    jobs = _of_collectors([JobCollector(tuple, lambda: datetime.now(UTC))])
    return f"""# Metrics reference

Made by `python -m tests.unit.metrics_reference`. Prometheus adds its own labels to those named here.

## The operator

Port 8081. The number of series does not depend on the number of jobs.

{_table(operator)}

## Jobs

From the operator that leads. A job's series are there for as long as the job is.

{_table(jobs)}

## Training

Port 9464 of a job's pods.

{_table(_rows(FULL_RUN.families()))}
"""


Row = tuple[str, str, str, str]
"""Name, type, labels, meaning."""


def _of_collectors(collectors: Iterable[Collector]) -> Iterator[Row]:
    for collector in collectors:
        labels = collector._labelnames if isinstance(collector, MetricWrapperBase) else None
        yield from _rows(collector.collect(), labels)


def _rows(families: Iterable[Metric], labels: Sequence[str] | None = None) -> Iterator[Row]:
    for family in families:
        of_family = labels if labels is not None else getattr(family, "_labelnames", ())
        if not of_family:
            of_family = list(dict.fromkeys(name for sample in family.samples for name in sample.labels))
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        shown = ", ".join(f"`{name}`" for name in of_family if name != "le")
        yield f"`{family.name}{suffix}`", family.type, shown, family.documentation


def _table(rows: Iterable[Row]) -> str:
    lines = ["| Metric | Type | Labels | Meaning |", "|---|---|---|---|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in sorted(rows)])


if __name__ == "__main__":
    PAGE.write_text(page())
