"""How often the operator asks the API server, at most."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class RateLimit:
    """A token bucket: `burst` requests at once, then `qps` a second, in the order of asking.

    Args:
        qps: tokens a second.
        burst: tokens in a full bucket.
        clock: monotonic seconds.
        sleep: waits a number of seconds.
    """

    def __init__(
        self,
        qps: float,
        burst: int,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._interval = 1 / qps
        self._depth = burst * self._interval
        self._clock = clock
        self._sleep = sleep
        self._next = clock() - self._depth

    async def acquire(self) -> None:
        """Take a token; waits until there is one."""
        now = self._clock()
        self._next = max(self._next, now - self._depth) + self._interval
        if self._next > now:
            await self._sleep(self._next - now)
