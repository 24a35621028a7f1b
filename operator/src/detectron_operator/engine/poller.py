"""Follows the progress documents that the first pods of running jobs serve."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

import aiohttp

from detectron_operator import bounded
from detectron_operator.kube.objects import Key

LARGEST = 64 * 1024
"""Bytes of a document."""
TIMEOUT = aiohttp.ClientTimeout(total=2)
AT_ONCE = 256
"""Pods asked at once. One that does not answer holds its place for as long as the timeout."""
SLOW = 0.5
"""Seconds after which an answer, or none, counts as slow."""
PATIENCE = 4
"""A pod that stays slow is asked less and less often, at least once in so many periods."""
TICK = 0.1
"""Seconds until a pod that is newly followed is noticed."""

logger = logging.getLogger(__name__)


class Silence(Enum):
    """Why a pod said nothing."""

    UNREACHABLE = auto()
    """Nobody listens there, the way is closed, or the answer is none."""
    TIMED_OUT = auto()
    """Whoever listens did not answer, or what was sent got lost."""


Deliver = Callable[[Key, bytes | Silence], None]
"""Told what a job's first pod said."""


@dataclass(eq=False, slots=True)
class _Target:
    """A pod that is followed; `slowness` counts the slow or lost answers in a row."""

    job: Key
    host: str
    slowness: int = 0


class Poller:
    """Asks every followed pod once in each period, each for itself: a slow one delays none of the others.

    A pod is untrusted: it gets no credentials and no cookies, redirects are not followed, nothing is
    decompressed, and an answer has a deadline and a largest size. So nothing would be gained by verifying its
    certificate, where it has one: none is.

    Args:
        period: seconds between two questions to the same pod.
        port: the pods' port.
        deliver: takes the answers.
        failed: told each job whose answer was lost to an error in the operator.
        clock: monotonic seconds of the event loop.
        sleep: waits a number of seconds.
        jitter: draws uniformly from [0, 1); spreads the first questions over a period.
    """

    def __init__(
        self,
        period: float,
        port: int,
        deliver: Deliver,
        failed: Callable[[Key], None],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._period = period
        self._port = port
        self._deliver = deliver
        self._failed = failed
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._targets: dict[Key, _Target] = {}
        self._due: list[tuple[float, int, _Target]] = []
        self._order = itertools.count()

    @property
    def followed(self) -> Mapping[Key, str]:
        """The URL, up to the port, that is asked for each job."""
        return {job: target.host for job, target in self._targets.items()}

    def follow(self, job: Key, host: str | None) -> None:
        """From now on ask at this URL, up to the port, for the job's progress; None: nobody."""
        known = self._targets.get(job)
        if host is None:
            self._targets.pop(job, None)
        elif known is None or known.host != host:
            self._targets[job] = target = _Target(job, host)
            self._ask_after(self._period * self._jitter(), target)

    async def run(self) -> None:
        """Ask, whenever somebody is due, until cancelled."""
        slots = asyncio.Semaphore(AT_ONCE)
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=TIMEOUT,
                trust_env=False,
                auto_decompress=False,
            ) as session,
            asyncio.TaskGroup() as group,
        ):
            while True:
                while not self._due or self._due[0][0] > self._clock():
                    await self._sleep(min(TICK, self._due[0][0] - self._clock()) if self._due else TICK)
                _, _, target = heapq.heappop(self._due)
                if self._is_followed(target):
                    await slots.acquire()
                    task = group.create_task(self._ask(session, target))
                    task.add_done_callback(lambda _: slots.release())

    def _ask_after(self, seconds: float, target: _Target) -> None:
        heapq.heappush(self._due, (self._clock() + seconds, next(self._order), target))

    async def _ask(self, session: aiohttp.ClientSession, target: _Target) -> None:
        """Ask a pod and see to its next turn, which it has whatever came of this one."""
        began, failed = self._clock(), False
        try:
            content = await self._answer(session, target)
            if self._is_followed(target):
                self._deliver(target.job, content)
        except Exception:
            failed = True
            logger.exception("%s at %s: an error in the operator", target.job, target.host)
            self._failed(target.job)
        if self._is_followed(target):
            slow = failed or self._clock() - began > SLOW
            target.slowness = target.slowness + 1 if slow else 0
            self._ask_after(self._period * min(PATIENCE, 2**target.slowness), target)

    async def _answer(self, session: aiohttp.ClientSession, target: _Target) -> bytes | Silence:
        try:
            url = f"{target.host}:{self._port}/progress"
            async with session.get(url, allow_redirects=False, ssl=False) as answer:
                if answer.status == 200:
                    return await bounded.read(answer.content, LARGEST)
        except TimeoutError:
            return Silence.TIMED_OUT
        except (aiohttp.ClientError, OSError, ValueError) as error:
            logger.debug("no progress from %s at %s: %s", target.job, target.host, error)
        return Silence.UNREACHABLE

    def _is_followed(self, target: _Target) -> bool:
        """Whether the job's first pod is still this one."""
        return self._targets.get(target.job) is target
