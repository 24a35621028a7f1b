"""Where each job's time and iterations went: the account in its status, in base units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from detectron_operator import shape

WALL: Final = ("pending", "running", "suspended")
TRAINER: Final = ("starting", "useful", "evaluating", "checkpointing")
_MOST: Final = 2**53


@dataclass(frozen=True)
class _Loss:
    cause: str
    down: int
    repeated: int
    iterations: int


class GoodputFamilies:
    """The families, filled job by job; `labels` name a job."""

    def __init__(self, labels: Sequence[str]) -> None:
        def gauge(name: str, documentation: str, *more: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"detectron_job_{name}", documentation, labels=(*labels, *more))

        self._ratio = gauge(
            "goodput_ratio", "Time of iterations that were kept, over all time that was not suspended."
        )
        self._useful = gauge("useful_iterations", "Iterations that were trained and kept.")
        self._wall = gauge(
            "wall_seconds", "Time since a job was created, by what the job was doing as a whole.", "state"
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

    def add(self, identity: Sequence[str], account: Mapping[str, object]) -> None:
        """Take in `status.goodput` of a job.

        Raises:
            ShapeError: it is of another shape; nothing of it was taken in.
        """
        number = _reader(account, "status.goodput")
        wall = {state: number(f"{state}Seconds") for state in WALL}
        trainer = {activity: number(f"{activity}Seconds") for activity in TRAINER}
        ratio, useful = number("percentage") / 100, number("usefulIterations")
        restarts = number("workerRestarts")
        lost = list(_losses(account))
        self._ratio.add_metric(identity, ratio)
        self._useful.add_metric(identity, useful)
        self._worker_restarts.add_metric(identity, restarts)
        for state, seconds in {**wall, "down": sum(loss.down for loss in lost)}.items():
            self._wall.add_metric([*identity, state], seconds)
        for activity, seconds in {**trainer, "repeated": sum(loss.repeated for loss in lost)}.items():
            self._trainer.add_metric([*identity, activity], seconds)
        for loss in lost:
            self._lost.add_metric([*identity, loss.cause], loss.down + loss.repeated)
            self._lost_iterations.add_metric([*identity, loss.cause], loss.iterations)

    def families(self) -> Iterator[Metric]:
        """What was taken in."""
        yield from (self._ratio, self._useful, self._worker_restarts)
        yield from (self._wall, self._trainer, self._lost, self._lost_iterations)


def _losses(account: Mapping[str, object]) -> Iterator[_Loss]:
    path = "status.goodput.losses"
    for i, item in enumerate(shape.sequence(account.get("losses", ()), path, at_most=64)):
        loss = shape.mapping(item, f"{path}[{i}]")
        number = _reader(loss, f"{path}[{i}]")
        cause = shape.text(loss.get("cause"), f"{path}[{i}].cause", at_most=64)
        yield _Loss(cause, number("downSeconds"), number("repeatedSeconds"), number("iterations"))


def _reader(fields: Mapping[str, object], path: str) -> Callable[[str], int]:
    """Reads counts; what is left out of an account is 0."""
    return lambda key: shape.integer(fields.get(key, 0), f"{path}.{key}", at_least=0, at_most=_MOST)
