"""The engine: takes in what the watches say, keeps workers busy, and knows whether it is well."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import datetime

from detectron_operator import reasons
from detectron_operator.ending import last_words
from detectron_operator.engine.cache import Cache, Entry, job_entry, pod_entry
from detectron_operator.engine.controller import ChildRefusedError, Controller, status_of
from detectron_operator.engine.patience import patience
from detectron_operator.engine.poller import Poller
from detectron_operator.engine.queue import WorkQueue
from detectron_operator.engine.reports import Reports
from detectron_operator.engine.resync import Resync
from detectron_operator.job_metrics import JobCollector
from detectron_operator.kube.client import Client
from detectron_operator.kube.errors import ConflictError, KubeError, TooManyRequestsError, UnavailableError
from detectron_operator.kube.objects import JOBS, PODS, Key, Object, metadata
from detectron_operator.metrics import Metrics, StateCollector
from detectron_operator.observed import Pod
from detectron_operator.plan import Defaults
from detectron_operator.settings import Settings

MISSED_RESYNCS = 3
"""So many periods without a resync, and the operator is not well."""
STUCK = 300.0
"""Seconds after which a job that still waits for a worker, or still has one, shows that nothing moves."""

logger = logging.getLogger(__name__)


class Engine:
    """Everything between the watches and the API server's write path.

    Args:
        now: the time by which everything is decided, with its zone.
        instance: the operator's pod or host name.
        on_failure: called once if a background task ends that never should.
    """

    def __init__(
        self,
        settings: Settings,
        client: Client,
        metrics: Metrics,
        now: Callable[[], datetime],
        instance: str,
        on_failure: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._on_failure = on_failure
        self._cache = Cache()
        self._clock = clock = asyncio.get_running_loop().time
        self._queue = WorkQueue(clock)
        self._reports = reports = Reports(settings.progress_period, clock, self._queue.add, metrics)
        self._poller = Poller(settings.poll_period, settings.progress_port, reports.take, reports.lose, clock)
        defaults = Defaults(
            settings.trainer_image, settings.progress_period, settings.annotate_for_prometheus
        )
        self._controller = Controller(
            client,
            self._cache,
            self._queue,
            self._poller,
            reports,
            defaults,
            metrics,
            now,
            clock,
            instance,
        )
        self._resync = Resync(
            client, self._cache, settings.namespaces, self._queue.add, settings.resync_period
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._busy: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.failure: BaseException | None = None
        """Why a background task ended."""
        metrics.registry.register(self._state())
        metrics.registry.register(JobCollector(self._cache.jobs.values, now))

    async def start(self) -> None:
        """Learn what there is, then begin to work.

        Raises:
            KubeError: the first complete list failed.
        """
        await self._resync.once()
        self._spawn("resync", self._resync.run())
        self._spawn("progress poller", self._poller.run())
        for number in range(self._settings.workers):
            self._spawn(f"worker {number}", self._work())

    async def stop(self) -> None:
        """Take no more work and wait for what is under way, but not for long."""
        self._stopping = True
        busy = set(self._busy)
        for task in self._tasks:
            if task not in busy:
                task.cancel()
        if busy:
            _, late = await asyncio.wait(busy, timeout=self._settings.stop_timeout)
            for task in late:
                logger.warning("%s did not finish in time", task.get_name())
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def take_job(self, kind: str | None, raw: Object) -> None:
        """Take in a watch event (or, without a kind, an item of a list) about a job."""
        news = (
            self._cache.jobs.remove(metadata(raw))
            if kind == "DELETED"
            else self._cache.jobs.upsert(job_entry(raw))
        )
        if news:
            self._queue.add(metadata(raw).key)

    def take_pod(self, kind: str | None, raw: Object) -> None:
        """Take in a watch event (or, without a kind, an item of a list) about a pod."""
        entry = pod_entry(raw)
        if entry is None:
            return
        gone = kind == "DELETED"
        if gone:
            self._keep_last_words(entry)
        if self._cache.pods.remove(entry.meta) if gone else self._cache.pods.upsert(entry):
            gang, rush = self._cache.pods.of_job(entry.job), self._controller.in_a_rush(entry.job)
            self._queue.add_after(entry.job, patience(entry.value, gang, gone=gone, in_a_rush=rush))

    def _keep_last_words(self, entry: Entry[Pod]) -> None:
        """A pod's end and its deletion may come as one: its last state then tells what it left."""
        job = self._cache.jobs.get(entry.job)
        words = last_words(entry.value) if entry.value.index == 0 else None
        if words is not None and job is not None and job.meta.uid == entry.value.job_uid:
            self._reports.keep(entry.job, words)

    def watch_relisted(self) -> None:
        """Take in that a watch has begun anew: what was deleted before must be found."""
        self._resync.ask()

    @property
    def started(self) -> bool:
        """Whether it has learned what there is and works."""
        return bool(self._tasks)

    def ailments(self) -> list[str]:
        """What shows that no work is being done; empty while all is well, and before the start."""
        if not self.started:
            return []
        found = []
        silence = self._resync.age
        if silence > MISSED_RESYNCS * self._settings.resync_period:
            found.append(f"the last complete list from the API server is {silence:.0f} s old")
        if self._queue.oldest_age > STUCK:
            found.append(f"a job has been waiting for {self._queue.oldest_age:.0f} s")
        found += [f"{task.get_name()} has ended" for task in self._tasks if task.done()]
        return found

    def _state(self) -> StateCollector:
        """What the engine holds, for the metrics."""
        return StateCollector(
            depth=lambda: len(self._queue),
            oldest_age=lambda: self._queue.oldest_age,
            resynced=lambda: self._resync.last,
            objects=lambda: {JOBS.plural: len(self._cache.jobs), PODS.plural: len(self._cache.pods)},
            phases=lambda: [
                str(status_of(raw).get("phase", reasons.NEW)) for raw in self._cache.jobs.values()
            ],
        )

    def _spawn(self, name: str, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._stopping:
            return
        self.failure = (
            RuntimeError(f"{task.get_name()} was cancelled") if task.cancelled() else task.exception()
        )
        self.failure = self.failure or RuntimeError(f"{task.get_name()} returned")
        logger.critical("%s has ended, so the operator does too", task.get_name(), exc_info=self.failure)
        self._on_failure()

    async def _work(self) -> None:
        """Work on one job after the other."""
        task = asyncio.current_task()
        assert task is not None
        while not self._stopping:
            key = await self._queue.get()
            self._busy.add(task)
            began = self._clock()
            result = await self._attempt(key)
            self._metrics.reconciled(result, self._clock() - began)
            self._busy.discard(task)
            self._queue.done(key)

    async def _attempt(self, key: Key) -> str:
        """Look at a job and decide what an error means for it; returns the result's name in the metrics."""
        try:
            await self._controller.reconcile(key)
        except ConflictError as error:
            logger.debug("%s changed meanwhile: %s", key, error)
            self._queue.again(key)
            return "conflict"
        except ChildRefusedError as refused:
            delay = self._queue.retry(key)
            logger.warning("%s: %s; next try in %.1f s", key, refused, delay)
            return "blocked"
        except KubeError as error:
            at_least = error.retry_after if isinstance(error, TooManyRequestsError) else 0.0
            delay = self._queue.retry(key, at_least)
            logger.warning("%s: %s; next try in %.1f s", key, error, delay)
            return "unavailable" if isinstance(error, UnavailableError) else "refused"
        except Exception:
            logger.exception("%s: an error in the operator; next try in %.1f s", key, self._queue.retry(key))
            return "failed"
        self._queue.succeeded(key)
        return "done"
