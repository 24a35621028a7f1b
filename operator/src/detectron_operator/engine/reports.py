"""What running jobs last said of their progress."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from detectron_operator.engine.poller import Silence
from detectron_operator.kube.objects import Key
from detectron_operator.metrics import Metrics
from detectron_operator.progress import Progress, ProgressError, parse

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """A job's newest document, and the one that was last told as news, with the time of that."""

    newest: Progress
    told: Progress
    at: float


class Reports:
    """The newest document of each job; news at most once in a period whatever the trainers' clocks say.

    Args:
        period: seconds.
        clock: monotonic seconds.
        news: told each job that said something new.
    """

    def __init__(
        self, period: float, clock: Callable[[], float], news: Callable[[Key], None], metrics: Metrics
    ) -> None:
        self._period = period
        self._clock = clock
        self._news = news
        self._metrics = metrics
        self._newest: dict[Key, Report] = {}
        self._mute: set[Key] = set()

    def get(self, job: Key) -> Progress | None:
        """What the job said last; None if nothing."""
        report = self._newest.get(job)
        return None if report is None else report.newest

    def forget(self, job: Key) -> None:
        """Drop what the job said."""
        self._newest.pop(job, None)
        self._mute.discard(job)

    def keep(self, job: Key, words: Progress) -> None:
        """Take in the last words of a first pod that is gone, unless another one has spoken since."""
        known = self._newest.get(job)
        age = (words.attempt, words.last_updated_time)
        if known is None or (known.newest.attempt, known.newest.last_updated_time) < age:
            self._newest[job] = Report(words, words, self._clock())

    def is_mute(self, job: Key) -> bool:
        """Whether the job's first pod lets the last poll wait in vain, which one that is gone does not."""
        return job in self._mute

    def take(self, job: Key, content: bytes | Silence) -> None:
        """Take in what a job's first pod answered."""
        self._note_mute(job, content is Silence.TIMED_OUT)
        if isinstance(content, Silence):
            self._metrics.polls.labels("unreachable").inc()
            return
        try:
            progress = parse(content)
        except ProgressError as error:
            self._metrics.polls.labels("malformed").inc()
            logger.debug("no progress document from %s: %s", job, error)
            return
        self._metrics.polls.labels("read").inc()
        known, now = self._newest.get(job), self._clock()
        if known is None or (progress != known.told and now >= known.at + self._period):
            self._newest[job] = Report(progress, progress, now)
            self._news(job)
        else:
            self._newest[job] = replace(known, newest=progress)

    def lose(self, job: Key) -> None:
        """Take in that an error of the operator's own has cost a job's answer; what it said before stands."""
        self._metrics.polls.labels("failed").inc()

    def _note_mute(self, job: Key, mute: bool) -> None:
        if mute == (job in self._mute):
            return
        if mute:
            self._mute.add(job)
        else:
            self._mute.discard(job)
        self._news(job)
