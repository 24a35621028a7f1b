"""A queue of keys with the semantics of client-go's workqueue.

A key that is added again before it was taken is there once; one that is added while a worker has it waits
until that worker is done. So no key is ever with two workers, and nothing that happened meanwhile is missed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from detectron_operator.kube.objects import Key

FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 300.0


class WorkQueue:
    """Keys to work on, now or later.

    Args:
        clock: monotonic seconds of the event loop that it lives in.
        jitter: draws uniformly from [0, 1); spreads retries.
    """

    def __init__(self, clock: Callable[[], float], jitter: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._jitter = jitter
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._dirty: dict[Key, float] = {}
        self._processing: dict[Key, float] = {}
        self._delayed: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._not_before: dict[Key, float] = {}

    def __len__(self) -> int:
        """Keys that wait for a worker."""
        return len(self._dirty)

    @property
    def oldest_age(self) -> float:
        """Seconds since the oldest key that is waiting or being worked on came to be so."""
        since = [next(iter(keys.values())) for keys in (self._dirty, self._processing) if keys]
        return self._clock() - min(since) if since else 0.0

    def add(self, key: Key) -> None:
        """Have the key worked on as soon as a worker is free, and `retry` has no objection."""
        if key in self._dirty:
            return
        rest = self._not_before.get(key, 0.0) - self._clock()
        if rest > 0:
            self.add_after(key, rest)
            return
        self._dirty[key] = self._clock()
        if key not in self._processing:
            self._ready.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Have the key worked on in some seconds; of several such wishes the earliest counts."""
        due = self._clock() + seconds
        waiting = self._delayed.get(key)
        if waiting is not None:
            if waiting.when() <= due:
                return
            waiting.cancel()
        self._delayed[key] = asyncio.get_running_loop().call_at(due, self._come_due, key)

    def retry(self, key: Key, at_least: float = 0.0) -> float:
        """Have a key that failed worked on later, the later the more often it failed; returns the delay.

        Args:
            at_least: seconds that it must take in any case, whatever news there are meanwhile.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(failures, 30))
        delay = at_least + longest * (0.5 + self._jitter() / 2)
        if at_least > 0:
            self._not_before[key] = self._clock() + at_least
            # What was added meanwhile is seen to with the retry.
            self._dirty.pop(key, None)
        self.add_after(key, delay)
        return delay

    def again(self, key: Key) -> None:
        """Have a key that met another's change worked on at once; if it does so again, as by `retry`."""
        if key in self._failures:
            self.retry(key)
        else:
            self._failures[key] = 0
            self.add(key)

    def succeeded(self, key: Key) -> None:
        """Forget the key's failures."""
        self._failures.pop(key, None)
        self._not_before.pop(key, None)

    async def get(self) -> Key:
        """The next key; the caller must call `done` with it."""
        key = await self._ready.get()
        del self._dirty[key]
        self._processing[key] = self._clock()
        return key

    def done(self, key: Key) -> None:
        """The worker has finished with the key, whatever came out."""
        del self._processing[key]
        if key in self._dirty:
            self._ready.put_nowait(key)

    def _come_due(self, key: Key) -> None:
        del self._delayed[key]
        self.add(key)
