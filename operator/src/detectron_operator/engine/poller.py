"""Follows the progress documents that the first pods of running jobs serve."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum, auto

import aiohttp

from detectron_operator.kube.objects import Key

LARGEST = 64 * 1024
"""Bytes of a document; the contract allows 4096."""
TIMEOUT = aiohttp.ClientTimeout(total=3)
AT_ONCE = 32

logger = logging.getLogger(__name__)


class Silence(Enum):
    """Why a pod said nothing."""

    UNREACHABLE = auto()
    """Nobody listens there, the way is closed, or the answer is none."""
    TIMED_OUT = auto()
    """Whoever listens did not answer, or what was sent got lost."""


Deliver = Callable[[Key, bytes | Silence], None]
"""Told what a job's first pod said."""


class Poller:
    """Asks every followed pod once in each period.

    A pod is untrusted: it gets no credentials, redirects are not followed, and an answer has a deadline and a
    largest size. So nothing would be gained by verifying its certificate, where it has one: none is.

    Args:
        period: seconds between two rounds.
        port: the pods' port.
        deliver: takes the answers.
        sleep: waits a number of seconds.
    """

    def __init__(
        self,
        period: float,
        port: int,
        deliver: Deliver,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._period = period
        self._port = port
        self._deliver = deliver
        self._sleep = sleep
        self._hosts: dict[Key, str] = {}

    @property
    def followed(self) -> Mapping[Key, str]:
        """The URL, up to the port, that is asked for each job."""
        return self._hosts

    def follow(self, job: Key, host: str | None) -> None:
        """From now on ask at this URL, up to the port, for the job's progress; None: nobody."""
        if host is None:
            self._hosts.pop(job, None)
        else:
            self._hosts[job] = host

    async def run(self) -> None:
        """Ask, round after round, until cancelled."""
        slots = asyncio.Semaphore(AT_ONCE)
        async with aiohttp.ClientSession(timeout=TIMEOUT, trust_env=False) as session:
            while True:
                await self._sleep(self._period)
                asked = list(self._hosts.items())
                await asyncio.gather(*(self._ask(session, slots, job, host) for job, host in asked))

    async def _ask(
        self, session: aiohttp.ClientSession, slots: asyncio.Semaphore, job: Key, host: str
    ) -> None:
        content: bytes | Silence = Silence.UNREACHABLE
        async with slots:
            try:
                url = f"{host}:{self._port}/progress"
                async with session.get(url, allow_redirects=False, ssl=False) as answer:
                    if answer.status == 200:
                        content = await _read(answer.content)
            except TimeoutError:
                content = Silence.TIMED_OUT
            except (aiohttp.ClientError, OSError, ValueError) as error:
                logger.debug("no progress from %s at %s: %s", job, host, error)
        if self._hosts.get(job) == host:
            self._deliver(job, content)


async def _read(stream: aiohttp.StreamReader) -> bytes:
    """All that the stream has.

    Raises:
        ValueError: it has more than `LARGEST` bytes.
    """
    content = b""
    async for chunk in stream.iter_any():
        content += chunk
        if len(content) > LARGEST:
            raise ValueError(f"the document has more than {LARGEST} bytes")
    return content
