"""What is known of a job and not yet told: in a rush, pods come first.

A status that nothing rests on may be told later. Until then plans are made as if it stood already, so that
several states of a job become one write, and the API server's time goes to what the jobs wait for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from detectron_operator.kube.objects import Key, Object
from detectron_operator.steps import Event, Plan

CALM = 0.2
"""Seconds after the last child was created or deleted until a rush is over."""
LOOK_AGAIN = 1.0
"""Seconds until a job of which something is untold is looked at again."""
PATIENCE = 10.0
"""Seconds after which it is told, rush or not."""


@dataclass(frozen=True)
class News:
    """A complete status, and events, that the API server does not have yet."""

    uid: str
    status: Mapping[str, object]
    events: tuple[Event, ...]
    since: float


class Rush:
    """Whether children of other jobs are being created or deleted.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._acting: Counter[Key] = Counter()
        self._latest: Key | None = None
        self._over = self._over_but_for_latest = 0.0

    @contextmanager
    def acting(self, job: Key) -> Iterator[None]:
        """A child of this job is created or deleted meanwhile."""
        self._acting[job] += 1
        try:
            yield
        finally:
            self._acting[job] -= 1
            if not self._acting[job]:
                del self._acting[job]
            if job != self._latest:
                self._latest, self._over_but_for_latest = job, self._over
            self._over = self._clock() + CALM

    def on(self, job: Key) -> bool:
        """Whether one of another job is, or was a moment ago."""
        over = self._over_but_for_latest if job == self._latest else self._over
        return self._clock() < over or any(other != job for other in self._acting)


class Untold:
    """The news of each job.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._news: dict[Key, News] = {}

    def over(self, job: Key, uid: str, raw: Object) -> Object:
        """The raw job as it will be once its news are told."""
        news = self._of(job, uid)
        return raw if news is None else {**raw, "status": news.status}

    def and_also(self, job: Key, uid: str, step: Plan) -> News | None:
        """All that is to be told after a step; None if nothing is."""
        known = self._of(job, uid)
        if step.status is None:
            return known and replace(known, events=known.events + step.events)
        if known is None:
            return News(uid, step.status, step.events, self._clock())
        return replace(known, status=step.status, events=known.events + step.events)

    def put_off(self, job: Key, news: News) -> bool:
        """Keep the news for later, unless they have waited for long enough; returns whether they are kept."""
        if self._clock() >= news.since + PATIENCE:
            return False
        self._news[job] = news
        return True

    def forget(self, job: Key) -> None:
        """The job's news are told, or it is gone."""
        self._news.pop(job, None)

    def _of(self, job: Key, uid: str) -> News | None:
        news = self._news.get(job)
        return news if news is not None and news.uid == uid else None
