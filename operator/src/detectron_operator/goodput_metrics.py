"""Where each job's time and iterations went, in base units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from detectron_operator.ledger import Ledger


class GoodputFamilies:
    """The families, filled job by job; `labels` name a job."""

    def __init__(self, labels: Sequence[str]) -> None:
        def gauge(name: str, documentation: str, *more: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"detectron_job_{name}", documentation, labels=(*labels, *more))

        self._ratio = gauge(
            "goodput_ratio",
            "Time of iterations that were kept, over all time that was neither suspended nor queued.",
        )
        self._useful = gauge("useful_iterations", "Iterations that were trained and kept.")
        self._wall = gauge(
            "wall_seconds",
            "Time since a job was first looked at, by what it was doing as a whole; counts on in the "
            "state that it is in.",
            "state",
        )
        self._trainer = gauge(
            "trainer_seconds", "Time of a job's trainer, by what it was spent on.", "activity"
        )
        self._worker_restarts = CounterMetricFamily(
            "detectron_job_worker_restarts",
            "How often all workers of a job began anew within an attempt.",
            labels=labels,
        )
        self._lost = gauge(
            "lost_seconds", "Time without progress and time of iterations trained in vain, by cause.", "cause"
        )
        self._lost_iterations = gauge(
            "lost_iterations", "Iterations that were trained in vain, by cause.", "cause"
        )

    def add(self, identity: Sequence[str], account: Ledger) -> None:
        """Take in the account of a job."""
        losses = account.losses
        wall = {
            "pending": account.pending,
            "running": account.running,
            "suspended": account.suspended,
            "queued": account.queued,
            "down": sum(loss.down for loss in losses.values()),
        }
        trainer = {
            "starting": account.starting,
            "useful": account.useful,
            "evaluating": account.evaluating,
            "checkpointing": account.checkpointing,
            "repeated": sum(loss.repeated for loss in losses.values()),
        }
        self._ratio.add_metric(identity, account.percentage / 100)
        self._useful.add_metric(identity, account.useful_iterations)
        self._worker_restarts.add_metric(identity, account.worker_restarts)
        for state, seconds in wall.items():
            self._wall.add_metric([*identity, state], seconds)
        for activity, seconds in trainer.items():
            self._trainer.add_metric([*identity, activity], seconds)
        for cause, loss in losses.items():
            self._lost.add_metric([*identity, cause], loss.down + loss.repeated)
            self._lost_iterations.add_metric([*identity, cause], loss.iterations)

    def families(self) -> Iterator[Metric]:
        """What was taken in."""
        yield from (self._ratio, self._useful, self._worker_restarts)
        yield from (self._wall, self._trainer, self._lost, self._lost_iterations)
