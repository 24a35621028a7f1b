"""Complete comparisons with the API server: the first fills the cache, later ones find what was missed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from detectron_operator import labels
from detectron_operator.engine.cache import Cache, Entry, job_entry, pod_entry
from detectron_operator.kube.client import Client
from detectron_operator.kube.errors import KubeError
from detectron_operator.kube.objects import JOBS, PODS, Key

SOONER = 0.1
"""After a failure the next try comes after this part of the period."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Resync:
    """Lists all jobs and pods now and then.

    Args:
        namespaces: those that are served; empty means all.
        news: told each job for which a list said something new, and each job once in every resync.
        period: seconds between two resyncs that nobody asked for, give or take a tenth, so that operators do
            not list in step.
        clock: Unix time; only for the metric.
        monotonic: seconds of a clock that nobody sets.
    """

    def __init__(
        self,
        client: Client,
        cache: Cache,
        namespaces: Sequence[str],
        news: Callable[[Key], None],
        period: float,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._cache = cache
        self._scopes: Sequence[str | None] = namespaces or [None]
        self._news = news
        self._period = period
        self._clock = clock
        self._monotonic = monotonic
        self._began = -math.inf
        self._asked = asyncio.Event()
        self.last = 0.0
        """Unix time at which the last complete one began; 0 before the first."""

    @property
    def age(self) -> float:
        """Seconds since the last complete one began; infinite before the first."""
        return self._monotonic() - self._began

    async def once(self) -> None:
        """List everything and have every job looked at.

        Raises:
            KubeError: a list failed; what was listed before it is noted.
        """
        last, began = self._clock(), self._monotonic()
        self._cache.jobs.forget_the_gone()
        self._cache.pods.forget_the_gone()
        stale: set[Key] = set()
        for scope in self._scopes:
            stale |= await self._compare(scope)
        self.last, self._began = last, began
        for key in stale | self._cache.jobs.names():
            self._news(key)

    def ask(self) -> None:
        """Have it done now; a watch may have missed something."""
        self._asked.set()

    async def run(self) -> None:
        """Resync when asked to, and periodically, until cancelled."""
        pause = self._period
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), pause * random.uniform(0.9, 1.1))
            self._asked.clear()
            try:
                await self.once()
                pause = self._period
            except KubeError as error:
                logger.warning("resync failed: %s", error)
                pause = self._period * SOONER

    async def _compare(self, scope: str | None) -> set[Key]:
        """List one namespace, or all; returns the jobs for which it was news.

        Jobs come first: a pod that is there although its job is not belongs to one made in between, and its
        watch event is on its way.
        """

        def concerns(entry: Entry[T]) -> bool:
            return scope is None or entry.meta.key.namespace == scope

        jobs = await self._client.list(JOBS, job_entry, scope)
        news = self._cache.jobs.replace(jobs.items, jobs.version, concerns)
        pods = await self._client.list(PODS, pod_entry, scope, labels.SELECTOR)
        return news | self._cache.pods.replace(pods.items, pods.version, concerns)
