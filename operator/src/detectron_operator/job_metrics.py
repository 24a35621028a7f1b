"""What Prometheus is told about each job, read off the operator's cache at the moment of the scrape.

A job that is deleted takes its series along. Time counts on in the state that a job is in, also while
nothing is written. The labels are `job_namespace` and `training_job`, because a `namespace` of ours would be
renamed in favour of that of the scraped pod.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from detectron_operator import ledger, reasons, shape
from detectron_operator import status as statuses
from detectron_operator.goodput_metrics import GoodputFamilies
from detectron_operator.ledger import Ledger
from detectron_operator.shape import ShapeError

Fields = Mapping[str, object]

_IDENTITY: Final = ("job_namespace", "training_job")


class JobCollector(Collector):
    """Series of every job that `jobs` yields, raw objects as the API server stores them.

    Args:
        now: the time, with its zone.
    """

    def __init__(self, jobs: Callable[[], Iterable[Fields]], now: Callable[[], datetime]) -> None:
        self._jobs = jobs
        self._now = now

    def collect(self) -> Iterable[Metric]:
        """The metrics' families."""
        phases = GaugeMetricFamily(
            "detectron_job_status_phase",
            "1 for the phase that a job is in.",
            labels=(*_IDENTITY, "phase"),
        )
        failures = GaugeMetricFamily(
            "detectron_job_failure_info", "1 for the reason why a job failed.", labels=(*_IDENTITY, "reason")
        )
        restarts = CounterMetricFamily(
            "detectron_job_restarts",
            "Attempts that followed another one, by the reason why that one ended.",
            labels=(*_IDENTITY, "reason"),
        )
        values = {
            name: GaugeMetricFamily(f"detectron_job_{name}", documentation, labels=_IDENTITY)
            for name, (documentation, _) in _VALUES.items()
        }
        goodput = GoodputFamilies(_IDENTITY)
        unreadable, now = 0, self._now()
        for raw in self._jobs():
            try:
                job = _Job(raw, now)
            except ShapeError:
                unreadable += 1
                continue
            if job.account is not None:
                goodput.add(job.identity, job.account)
            phases.add_metric([*job.identity, job.phase], 1)
            if job.failure is not None:
                failures.add_metric([*job.identity, job.failure], 1)
            for reason, count in job.restarts:
                restarts.add_metric([*job.identity, reason], count)
            for name, value in job.values:
                values[name].add_metric(job.identity, value)
        yield from (phases, failures, restarts, *values.values(), *goodput.families())
        yield GaugeMetricFamily(
            "detectron_operator_unreadable_jobs",
            "Jobs without series of their own, because their status is not of the expected shape.",
            unreadable,
        )


class _Job:
    """What is exported of one job; ShapeError where it cannot be read."""

    def __init__(self, raw: Fields, now: datetime) -> None:
        metadata = shape.mapping(raw.get("metadata"), "metadata")
        status = shape.mapping(raw.get("status") or {}, "status")
        self.identity = [
            shape.text(metadata.get(key), f"metadata.{key}", at_most=253) for key in ("namespace", "name")
        ]
        self.phase = shape.text(status.get("phase", reasons.NEW), "status.phase", at_most=64)
        failure = shape.mapping(status.get("failure") or {}, "status.failure")
        self.failure = (
            shape.text(failure["reason"], "status.failure.reason", at_most=64)
            if "reason" in failure
            else None
        )
        self.restarts = tuple(_restarts(status))
        self.account = _account(status, now) if ledger.FIELD in status else None
        self.values = tuple(
            (name, value)
            for name, (_, read) in _VALUES.items()
            if (value := read(metadata, status)) is not None
        )


def _account(status: Fields, now: datetime) -> Ledger:
    """The job's account as it would be if it were written now; that of a finished job is closed."""
    account, stored = ledger.read(status), statuses.read(status)
    return account if stored.finished else account.spent(stored, now)


def _restarts(status: Fields) -> Iterator[tuple[str, int]]:
    path = "status.restartsByReason"
    for i, item in enumerate(shape.sequence(status.get("restartsByReason", ()), path, at_most=64)):
        entry = shape.mapping(item, f"{path}[{i}]")
        yield (
            shape.text(entry.get("reason"), f"{path}[{i}].reason", at_most=64),
            shape.integer(entry.get("count"), f"{path}[{i}].count", at_least=0, at_most=2**53),
        )


def _time(fields: Fields, key: str) -> float | None:
    return shape.time(fields[key], f"status.{key}").timestamp() if key in fields else None


def _count(status: Fields, key: str) -> int | None:
    if key not in status:
        return None
    return shape.integer(status[key], f"status.{key}", at_least=0, at_most=2**53)


def _progress(_: Fields, status: Fields) -> float | None:
    done, planned = _count(status, "iteration"), _count(status, "maxIterations")
    return done / planned if done is not None and planned else None


def _last_checkpoint(_: Fields, status: Fields) -> float | None:
    return _time(shape.mapping(status.get("lastCheckpoint") or {}, "status.lastCheckpoint"), "time")


_VALUES: Final[Mapping[str, tuple[str, Callable[[Fields, Fields], float | None]]]] = {
    "attempt": (
        "Number of a job's newest attempt, counted from 0.",
        lambda _, status: _count(status, "attempt"),
    ),
    "iteration": ("Iterations that a job has completed.", lambda _, status: _count(status, "iteration")),
    "progress_ratio": ("Completed iterations over those that a job is to complete.", _progress),
    "estimated_remaining_seconds": (
        "Estimated time until a job is trained, while it runs.",
        lambda _, status: _count(status, "estimatedRemainingSeconds"),
    ),
    "created_timestamp_seconds": (
        "When a job was created.",
        lambda metadata, _: _time(metadata, "creationTimestamp"),
    ),
    "start_timestamp_seconds": (
        "When the operator first started a job.",
        lambda _, status: _time(status, "startTime"),
    ),
    "completion_timestamp_seconds": (
        "When a job ended.",
        lambda _, status: _time(status, "completionTime"),
    ),
    "last_progress_timestamp_seconds": (
        "When a job's trainer last told of progress.",
        lambda _, status: _time(status, "lastUpdatedTime"),
    ),
    "last_checkpoint_timestamp_seconds": ("When a job's last checkpoint was saved.", _last_checkpoint),
}
"""Metric's name → what it says, and how it is read off metadata and status."""
