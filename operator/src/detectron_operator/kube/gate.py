"""How many requests are under way at once, and which of those that wait goes next."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from enum import IntEnum

SHARE = 64
"""Requests of one sender that may wait in a row."""


class Priority(IntEnum):
    """What goes first: in a rush of jobs their pods are to be there before anything is told of them."""

    ACT = 0
    """Children are created and deleted, and what that rests on is read."""
    TELL = 1
    """A status."""
    REMARK = 2
    """An event, which nothing rests on."""


class Gate:
    """Lets `width` pass at once; of those that wait the most urgent first, then the one that came first.

    A sender of hundreds of requests does not make others wait for all of them: those beyond a share wait as
    if they had come a share of requests later, those beyond two shares two, and so on.
    """

    def __init__(self, width: int) -> None:
        self._free = width
        self._passed = 0
        self._order = itertools.count()
        self._waiting: list[tuple[Priority, int, int, Hashable, asyncio.Future[None]]] = []
        self._waiting_of: Counter[Hashable] = Counter()

    @asynccontextmanager
    async def passing(self, priority: Priority, sender: Hashable = None) -> AsyncIterator[None]:
        """Pass, as soon as there is room; without a `sender` a request is nobody's share."""
        if self._free > 0:
            self._free -= 1
        else:
            await self._wait(priority, sender)
        self._passed += 1
        try:
            yield
        finally:
            self._leave()

    async def _wait(self, priority: Priority, sender: Hashable) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ahead = 0 if sender is None else self._waiting_of[sender]
        due = self._passed + ahead // SHARE * SHARE
        heapq.heappush(self._waiting, (priority, due, next(self._order), sender, turn))
        self._waiting_of[sender] += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # The turn came at the same moment: it goes to the next.
                self._leave()
            raise

    def _leave(self) -> None:
        while self._waiting:
            *_, sender, turn = heapq.heappop(self._waiting)
            self._waiting_of[sender] -= 1
            if not self._waiting_of[sender]:
                del self._waiting_of[sender]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
