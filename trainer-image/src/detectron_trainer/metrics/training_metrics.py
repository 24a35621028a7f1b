"""What Prometheus is told about a training run: the names, types and meanings of all metrics.

Metrics are built from one immutable snapshot, so a scrape never sees half a write, and a value that is not
known yet is absent rather than zero. Names follow https://prometheus.io/docs/practices/naming.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)

from detectron_trainer.metrics.scalars import AveragePrecision

TARGET_LABELS = frozenset({"job", "instance", "namespace", "pod", "container", "node", "service", "endpoint"})
"""Labels that Prometheus puts on every series itself; an exporter's own would be renamed to exported_*."""

_DURATION_BOUNDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75),
    *(1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0),
)

_GAUGES = {
    "total_loss": "Sum of the component losses, smoothed as in metrics.json.",
    "learning_rate": "Learning rate of the first parameter group.",
    "iteration": "Iteration that the losses belong to, counted from 0 as in metrics.json.",
    "max_iterations": "Iterations that the run is to complete.",
    "start_iteration": "Iteration that this process began with, above 0 where it resumed from a checkpoint.",
    "eta_seconds": "Estimated time to the last iteration, evaluations and checkpoints included.",
    "data_wait_ratio": "Share of their time that the last 20 iterations waited for images, 0 to 1.",
    "last_write_timestamp_seconds": "Time when the training loop last wrote metrics.",
    "last_checkpoint_timestamp_seconds": "Time of the last saved checkpoint.",
    "last_evaluation_timestamp_seconds": "Time of the last evaluation.",
    "last_evaluation_iteration": "Iteration of the last evaluation.",
}


@dataclass(frozen=True)
class Durations:
    """A histogram of durations in seconds; the last of `counts` is of those above all bounds."""

    counts: tuple[int, ...] = (0,) * (len(_DURATION_BOUNDS) + 1)
    total: float = 0.0

    def including(self, durations: Iterable[float]) -> Durations:
        counts, total = list(self.counts), self.total
        for duration in durations:
            counts[bisect_left(_DURATION_BOUNDS, duration)] += 1
            total += duration
        return replace(self, counts=tuple(counts), total=total)

    def family(self, name: str, documentation: str) -> Metric:
        bounds = [*(str(bound) for bound in _DURATION_BOUNDS), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(self.counts)), strict=True))
        return HistogramMetricFamily(name, documentation, buckets=buckets, sum_value=self.total)


@dataclass(frozen=True, kw_only=True)
class TrainingMetrics:
    """One consistent state of a run; None and empty is what is not known. Units stand in `_GAUGES`."""

    info: Mapping[str, str]
    total_loss: float | None = None
    learning_rate: float | None = None
    iteration: int | None = None
    max_iterations: int | None = None
    start_iteration: int | None = None
    eta_seconds: float | None = None
    data_wait_ratio: float | None = None
    last_write_timestamp_seconds: float | None = None
    last_checkpoint_timestamp_seconds: float | None = None
    last_evaluation_timestamp_seconds: float | None = None
    last_evaluation_iteration: int | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    scalars: Mapping[str, float] = field(default_factory=dict)
    precisions: Mapping[AveragePrecision, float] = field(default_factory=dict)
    iterations: int = 0
    images: int | None = None
    iteration_durations: Durations = Durations()
    data_loading_durations: Durations = Durations()
    gpu_memory: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    dropped_scalars: int = 0
    exit_reason: str | None = None

    def families(self) -> Iterator[Metric]:
        """The metric families that are exported for this state."""
        yield InfoMetricFamily(
            "detectron_training", "Versions and settings of the run.", value=dict(self.info)
        )
        for name, documentation in _GAUGES.items():
            value: float | None = getattr(self, name)
            if value is not None:
                yield GaugeMetricFamily(f"detectron_training_{name}", documentation, value=value)
        yield from self._work()
        if self.losses:
            yield _labelled(
                "detectron_training_loss",
                "Component loss, smoothed as in metrics.json; detectron_training_total_loss sums them up.",
                ("loss",),
                {(name,): value for name, value in self.losses.items()},
            )
        if self.scalars:
            yield _labelled(
                "detectron_training_scalar",
                "Other scalar of Detectron2's event storage, smoothed as in metrics.json.",
                ("name",),
                {(name,): value for name, value in self.scalars.items()},
            )
        yield from self._average_precision()
        yield from self._gpu_memory()
        if self.exit_reason is not None:
            yield InfoMetricFamily(
                "detectron_training_exit", "Why the run ended.", value={"reason": self.exit_reason}
            )

    def _work(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "detectron_training_iterations", "Iterations completed by this process.", value=self.iterations
        )
        if self.images is not None:
            yield CounterMetricFamily(
                "detectron_training_images", "Images trained on since this process began.", value=self.images
            )
        yield CounterMetricFamily(
            "detectron_training_dropped_scalars",
            "Scalars that are not exported because their metric has as many series as it may.",
            value=self.dropped_scalars,
        )
        yield self.iteration_durations.family(
            "detectron_training_iteration_duration_seconds",
            "Duration of an iteration without evaluation and checkpoint.",
        )
        yield self.data_loading_durations.family(
            "detectron_training_data_loading_duration_seconds",
            "Time that an iteration waited for images: the ranks' mean, in Detectron2's loops their maximum.",
        )

    def _average_precision(self) -> Iterator[Metric]:
        means = {k: v for k, v in self.precisions.items() if k.category is None}
        categories = {k: v for k, v in self.precisions.items() if k.category is not None}
        if means:
            yield _labelled(
                "detectron_evaluation_average_precision_ratio",
                "Average precision of the last evaluation.",
                ("dataset", "task", "kind"),
                {(k.dataset, k.task, k.kind): value for k, value in means.items()},
            )
        if categories:
            yield _labelled(
                "detectron_evaluation_category_average_precision_ratio",
                "Average precision of one category in the last evaluation.",
                ("dataset", "task", "category"),
                {(k.dataset, k.task, k.category or ""): value for k, value in categories.items()},
            )

    def _gpu_memory(self) -> Iterator[Metric]:
        if not self.gpu_memory:
            return
        for index, (kind, documentation) in enumerate(
            (
                ("allocated", "GPU memory that tensors hold."),
                ("peak", "Most GPU memory that tensors ever held."),
            )
        ):
            yield _labelled(
                f"detectron_training_gpu_memory_{kind}_bytes",
                documentation,
                ("device",),
                {(str(device),): amounts[index] for device, amounts in self.gpu_memory.items()},
            )


def _labelled(
    name: str, documentation: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> Metric:
    family = GaugeMetricFamily(name, documentation, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family
