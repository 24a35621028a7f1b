"""How many requests are under way at once, and which of those that wait goes next."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum


class Priority(IntEnum):
    """What goes first: in a rush of jobs their pods are to be there before anything is told of them."""

    ACT = 0
    """Children are created and deleted, and what that rests on is read."""
    TELL = 1
    """A status."""
    REMARK = 2
    """An event, which nothing rests on."""


class Gate:
    """Lets `width` pass at once; of those that wait the most urgent first, then the one that came first."""

    def __init__(self, width: int) -> None:
        self._free = width
        self._order = itertools.count()
        self._waiting: list[tuple[Priority, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def passing(self, priority: Priority) -> AsyncIterator[None]:
        """Pass, as soon as there is room."""
        if self._free > 0:
            self._free -= 1
        else:
            await self._wait(priority)
        try:
            yield
        finally:
            self._leave()

    async def _wait(self, priority: Priority) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._order), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # The turn came at the same moment: it goes to the next.
                self._leave()
            raise

    def _leave(self) -> None:
        while self._waiting:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
