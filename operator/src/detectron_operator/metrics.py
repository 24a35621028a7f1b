"""What the operator says of itself to Prometheus. Names carry no job: their number stays bounded."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The counters, in a registry of their own."""

    def __init__(self, version: str) -> None:
        # They would be a second series for each counter, which nobody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "detectron_operator_reconcile",
            "Jobs looked at, by what came out: done, blocked (a child could not be created), conflict "
            "(the job changed meanwhile), unavailable (the API server), refused (a request other than "
            "a create), failed (an error in the operator).",
            ["result"],
            registry=self.registry,
        )
        self.reconcile_seconds = Histogram(
            "detectron_operator_reconcile_duration_seconds",
            "Time from taking a job off the queue to its last API request, by what came out.",
            ["result"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.api_requests = Counter(
            "detectron_operator_api_requests",
            "Requests to the API server other than watches; code is the HTTP status, or error.",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self.polls = Counter(
            "detectron_operator_progress_polls",
            "Looks at a running job's progress document, by what came out: read, unreachable, malformed, "
            "failed (an error in the operator).",
            ["result"],
            registry=self.registry,
        )
        self.events_lost = Counter(
            "detectron_operator_events_lost",
            "Kubernetes events that the API server did not take; they are not sent again.",
            registry=self.registry,
        )
        self.leader = Gauge(
            "detectron_operator_leader",
            "1 if this operator works, 0 if it stands by.",
            registry=self.registry,
        )
        Info("detectron_operator_build", "The running version.", registry=self.registry).info(
            {"version": version}
        )

    def reconciled(self, result: str, seconds: float) -> None:
        """Count a look at a job, and the time that it took."""
        self.reconciles.labels(result).inc()
        self.reconcile_seconds.labels(result).observe(seconds)

    def request(self, verb: str, resource: str, code: str) -> None:
        """Count a request to the API server."""
        self.api_requests.labels(verb, resource, code).inc()


class StateCollector(Collector):
    """Gauges that are read off the engine at the moment of the scrape.

    Args:
        depth, oldest_age: of the work queue.
        resynced: Unix time of the last complete comparison with the API server.
        objects: how many are cached, by resource.
        phases: the phase of each job.
    """

    def __init__(
        self,
        *,
        depth: Callable[[], int],
        oldest_age: Callable[[], float],
        resynced: Callable[[], float],
        objects: Callable[[], Mapping[str, int]],
        phases: Callable[[], Iterable[str]],
    ) -> None:
        self._depth = depth
        self._oldest_age = oldest_age
        self._resynced = resynced
        self._objects = objects
        self._phases = phases

    def collect(self) -> Iterable[Metric]:
        """The metrics' families."""
        yield GaugeMetricFamily(
            "detectron_operator_workqueue_depth", "Jobs that wait for a worker.", self._depth()
        )
        yield GaugeMetricFamily(
            "detectron_operator_workqueue_oldest_age_seconds",
            "Age of the oldest job that waits or is being worked on.",
            self._oldest_age(),
        )
        yield GaugeMetricFamily(
            "detectron_operator_last_resync_timestamp_seconds",
            "When all jobs and pods were last compared with the API server.",
            self._resynced(),
        )
        cached = GaugeMetricFamily(
            "detectron_operator_cache_objects", "Objects held in memory.", labels=["resource"]
        )
        for resource, count in self._objects().items():
            cached.add_metric([resource], count)
        yield cached
        jobs = GaugeMetricFamily("detectron_operator_jobs", "Jobs by phase.", labels=["phase"])
        for phase, count in sorted(Tally(self._phases()).items()):
            jobs.add_metric([phase], count)
        yield jobs
