"""An EventWriter that shows a Detectron2 training run to Prometheus.

It needs nothing of this package's trainer. In any script with Detectron2's writers:

    from detectron_trainer import PrometheusWriter

    writers.append(PrometheusWriter(max_iter=cfg.SOLVER.MAX_ITER, port=9464))

Values are those that `JSONWriter` writes to metrics.json at the same iteration: the median of the last 20
where Detectron2 hints at smoothing (losses, times), the latest elsewhere (learning rate). All metrics are
listed in `detectron_trainer.metrics.training_metrics`.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from itertools import takewhile

import detectron2
import torch
from detectron2.utils.events import EventStorage, EventWriter, get_event_storage
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from detectron_trainer.metrics.data_wait import data_wait_ratio
from detectron_trainer.metrics.scalars import TOTAL_LOSS, AveragePrecision, flatten, is_component_loss
from detectron_trainer.metrics.series_limits import SeriesLimits
from detectron_trainer.metrics.server import MetricsServer
from detectron_trainer.metrics.training_metrics import TARGET_LABELS, Durations, TrainingMetrics
from detectron_trainer.progress.remaining_time import RemainingTime


class PrometheusWriter(EventWriter, Collector):  # type: ignore[misc]  # detectron2 ships no types
    """Exports what `EventStorage` holds at each `write`.

    Late values (an AP put after the last write of its iteration) come with the next write. A loss that is no
    longer put disappears. A component loss, scalar or AP beyond the limits of series is counted in
    ``detectron_training_dropped_scalars_total`` instead.

    Args:
        max_iter: iterations of the whole run; without it there is no ETA.
        registry: where the metrics are registered; an isolated registry of its own by default.
        port: serve the registry there until `close`; taken ports are replaced by a free one (see `port`).
        host: address to serve at.
        window_size: of the smoothing; 20 as in `JSONWriter`.
        images_per_iteration: the global batch (``cfg.SOLVER.IMS_PER_BATCH``), for the images counter.
        dataset: name of the test dataset, which Detectron2 leaves out of its results where there is only one.
        info: labels of ``detectron_training_info`` beside the versions.
        categories: categories to export AP of, for each dataset and task.
        scalars: patterns such as ``roi_head/*`` of other scalars to export.
        linger: seconds that `close` waits for Prometheus to fetch the last values, where `port` is given.

    Raises:
        ValueError: `info` has a label that Prometheus itself puts on every series.
    """

    def __init__(
        self,
        max_iter: int | None = None,
        *,
        registry: CollectorRegistry | None = None,
        port: int | None = None,
        host: str = "0.0.0.0",
        window_size: int = 20,
        images_per_iteration: int | None = None,
        dataset: str = "",
        info: Mapping[str, str] | None = None,
        categories: int = 0,
        scalars: Sequence[str] = (),
        linger: float = 0.0,
        clock: Callable[[], float] = time.time,
        monotonic_clock: Callable[[], float] = time.monotonic,
    ) -> None:
        labels = {**_versions(), **(info or {})}
        if reserved := TARGET_LABELS & labels.keys():
            raise ValueError(f"info: {', '.join(sorted(reserved))} are labels that Prometheus sets itself")
        self.registry = registry if registry is not None else CollectorRegistry()
        self._metrics = TrainingMetrics(info=labels, max_iterations=max_iter)
        self._window_size = window_size
        self._images_per_iteration = images_per_iteration
        self._dataset = dataset
        self._patterns = scalars
        self._linger = linger
        self._clock = clock
        self._remaining = RemainingTime(max_iter, monotonic_clock)
        self._limits = SeriesLimits(categories)
        self._completed: int | None = None
        self._loss_iterations = (-1, -1)  # of the previous and of the latest losses
        self._drained: dict[str, float] = {}
        self._evaluated: dict[AveragePrecision, int] = {}
        self._collected = threading.Event()
        self._server: MetricsServer | None = None
        self.registry.register(self)
        if port is not None:
            self._server = MetricsServer(self.registry, None, port, host)
            self._server.start()

    @property
    def port(self) -> int | None:
        """The port that is served, None where it serves none."""
        return self._server.port if self._server is not None else None

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics.families()
        self._collected.set()

    def set_start_iteration(self, iteration: int) -> None:
        """Say with which iteration this process begins; otherwise the first one in the storage is taken."""
        self._completed = iteration
        self._metrics = replace(self._metrics, start_iteration=iteration)

    def observe_checkpoint(self, time: datetime) -> None:
        """A checkpoint was saved at `time`."""
        self._metrics = replace(self._metrics, last_checkpoint_timestamp_seconds=time.timestamp())

    def observe_evaluation(self, results: Mapping[str, object], iteration: int) -> None:
        """Export an evaluation now rather than with the next write.

        Args:
            results: what `inference_on_dataset` returned, ``{task: {kind: AP in per cent}}``, or such results
                by the dataset's name.
            iteration: the last one before it, counted from 0 as `EventStorage` does.
        """
        self._take_precisions(("/".join(path), value, iteration) for path, value in flatten(results))

    def set_exit_reason(self, reason: str) -> None:
        """Say why the run ended, instead of what `close` would conclude."""
        self._metrics = replace(self._metrics, exit_reason=reason)

    def write(self) -> None:
        storage = get_event_storage()
        values: Mapping[str, tuple[float, int]] = storage.latest_with_smoothing_hint(self._window_size)
        self._take_precisions((name, value, at) for name, (value, at) in values.items())
        iteration = _iteration(storage, values)
        completed = iteration + 1
        done = self._advance(storage, completed)
        total_loss, learning_rate, duration = (_value(values, n) for n in (TOTAL_LOSS, "lr", "time"))
        images = None if self._images_per_iteration is None else done * self._images_per_iteration
        losses, scalars = self._losses(values, iteration), self._scalars(values)
        self._metrics = replace(
            self._metrics,
            losses=losses,
            scalars=scalars,
            total_loss=total_loss,
            learning_rate=learning_rate,
            iteration=iteration,
            iterations=done,
            images=images,
            eta_seconds=self._remaining.estimate(completed, duration),
            data_wait_ratio=data_wait_ratio(storage, self._window_size),
            iteration_durations=self._drain(storage, "time", self._metrics.iteration_durations),
            data_loading_durations=self._drain(storage, "data_time", self._metrics.data_loading_durations),
            gpu_memory=_gpu_memory(),
            dropped_scalars=self._limits.dropped,
            last_write_timestamp_seconds=self._clock(),
        )

    def close(self) -> None:
        if self._metrics.exit_reason is None:
            # Detectron2 closes its writers in a `finally`, where the exception that ends training is visible.
            self.set_exit_reason(_exit_reason(sys.exception()))
        if self._server is not None and self._server.port is not None:
            self._collected.clear()
            self._collected.wait(self._linger)
            self._server.close()

    def _advance(self, storage: EventStorage, completed: int) -> int:
        """Iterations that this process has completed: never fewer than before, whatever the loop does."""
        if self._completed is None:
            starts = [buffer.values()[0][1] for buffer in storage.histories().values() if buffer.values()]
            self.set_start_iteration(int(min(starts, default=completed)))
        gained = max(0, completed - (self._completed or 0))
        self._completed = completed
        return self._metrics.iterations + gained

    def _losses(self, values: Mapping[str, tuple[float, int]], iteration: int) -> dict[str, float]:
        previous, latest = self._loss_iterations
        if iteration > latest:
            previous, latest = self._loss_iterations = (latest, iteration)
        return {
            name: value
            for name, (value, at) in values.items()
            if is_component_loss(name) and at > previous and self._limits.losses.admit(name)
        }

    def _scalars(self, values: Mapping[str, tuple[float, int]]) -> dict[str, float]:
        return {
            name: value
            for name, (value, _) in values.items()
            if any(fnmatchcase(name, pattern) for pattern in self._patterns)
            and self._limits.scalars.admit(name)
        }

    def _take_precisions(self, values: Iterable[tuple[str, float, int]]) -> None:
        precisions = dict(self._metrics.precisions)
        newest = -1
        for name, value, iteration in values:
            about = AveragePrecision.parse(name)
            if about is None:
                continue
            about = replace(about, dataset=about.dataset or self._dataset)
            if iteration <= self._evaluated.get(about, -1) or not self._limits.admit_precision(about):
                continue
            self._evaluated[about] = newest = iteration
            # COCO's AP is NaN or -1 where there was nothing to find.
            if math.isfinite(value) and value >= 0:
                precisions[about] = value / 100
            else:
                precisions.pop(about, None)
        if newest >= 0:
            self._metrics = replace(
                self._metrics,
                precisions=precisions,
                dropped_scalars=self._limits.dropped,
                last_evaluation_iteration=newest,
                last_evaluation_timestamp_seconds=self._clock(),
            )

    def _drain(self, storage: EventStorage, name: str, durations: Durations) -> Durations:
        """Add what was put since the last write: every iteration once, where a gauge shows only the last."""
        buffer = storage.histories().get(name)
        if buffer is None:
            return durations
        # What a resumed run took over from its checkpoint was counted in the life before.
        drained = self._drained.get(name, (self._metrics.start_iteration or 0) - 1)
        fresh = list(takewhile(lambda entry: entry[1] > drained, reversed(buffer.values())))
        self._drained[name] = max((at for _, at in fresh), default=drained)
        return durations.including(value for value, _ in fresh)


def _value(values: Mapping[str, tuple[float, int]], name: str) -> float | None:
    return float(values[name][0]) if name in values else None


def _iteration(storage: EventStorage, values: Mapping[str, tuple[float, int]]) -> int:
    """The iteration that the newest losses belong to."""
    if TOTAL_LOSS in values:
        return values[TOTAL_LOSS][1]
    return max((at for name, (_, at) in values.items() if is_component_loss(name)), default=int(storage.iter))


def _exit_reason(error: BaseException | None) -> str:
    """One of few words: the error's own where it has one of a closed set, else its type."""
    if error is None:
        return "Completed"
    reason = getattr(error, "reason", None)
    return str(reason) if isinstance(reason, StrEnum) else type(error).__name__


def _versions() -> dict[str, str]:
    return {
        "detectron2": detectron2.__version__,
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "none",
    }


def _gpu_memory() -> dict[int, tuple[int, int]]:
    """Bytes allocated now and at most, of the GPU that this process trains on."""
    if not (torch.cuda.is_available() and torch.cuda.is_initialized()):  # type: ignore[no-untyped-call]
        return {}
    device = torch.cuda.current_device()
    return {device: (torch.cuda.memory_allocated(device), torch.cuda.max_memory_allocated(device))}
