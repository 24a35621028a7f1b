"""What a process has done, how long that took, and when it last got on.

The operator tells a hang from slow work by it, and keeps its account of useful and lost time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from detectron_trainer.progress.parts import Phase
from detectron_trainer.progress.values import timestamp, without_nones

WINDOW = 1000
"""The percentile is of so many of the latest iterations."""
ENOUGH = 10
"""Fewer iterations than these say little of the slow ones among them."""

HICCUP_SECONDS = 5.0
"""How much longer than two slow iterations one may take before it counts as no progress."""

TIMED = (Phase.STARTING, Phase.TRAINING, Phase.EVALUATING, Phase.CHECKPOINTING)


@dataclass(frozen=True, kw_only=True)
class Work:
    """The work of one process.

    `trained` counts completed iterations, those that a rollback repeats included. `idle` is seconds since it
    last got on, at the moment of asking. `seconds` by phase are complete iterations for Training, and all of
    the time for the others. `slow_iteration` is the 99th percentile of iterations in seconds, None at first.
    """

    start_time: datetime
    trained: int = 0
    idle: float = 0.0
    seconds: Mapping[Phase, float] = field(default_factory=dict)
    slow_iteration: float | None = None

    def document(self) -> dict[str, object]:
        slow = self.slow_iteration
        return without_nones(
            {
                "startTime": timestamp(self.start_time),
                "trainedIterations": self.trained,
                "idleSeconds": round(self.idle, 3),
                **{f"{phase.lower()}Seconds": round(self.seconds.get(phase, 0.0), 3) for phase in TIMED},
                "iterationSecondsP99": None if slow is None else round(slow, 4),
            }
        )

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        return cls(
            start_time=datetime.fromisoformat(document["startTime"]),
            trained=document["trainedIterations"],
            idle=document["idleSeconds"],
            seconds={phase: document[f"{phase.lower()}Seconds"] for phase in TIMED},
            slow_iteration=document.get("iterationSecondsP99"),
        )


class WorkLog:
    """Keeps count of the work, by a `clock` of monotonic seconds; not safe for threads by itself."""

    def __init__(self, start_time: datetime, phase: Phase, clock: Callable[[], float]) -> None:
        self._start_time = start_time
        self._phase = phase
        self._clock = clock
        self._seconds = dict.fromkeys(TIMED, 0.0)
        self._trained = 0
        self._durations: deque[float] = deque(maxlen=WINDOW)
        self._last = self._since = clock()

    def enter(self, phase: Phase) -> None:
        """What follows is another kind of work."""
        now = self._clock()
        if self._phase in TIMED and self._phase is not Phase.TRAINING:
            self._seconds[self._phase] += now - self._since
        self._phase = phase
        self._last = self._since = now

    def got_on(self) -> None:
        """It works: a batch is evaluated, a file written."""
        self._last = self._clock()

    def complete_iteration(self) -> None:
        """One more iteration is trained, begun when the one before or another kind of work was over."""
        now = self._clock()
        self._durations.append(now - self._since)
        self._seconds[Phase.TRAINING] += now - self._since
        self._trained += 1
        self._last = self._since = now

    def work(self) -> Work:
        """All of it, up to now."""
        now = self._clock()
        seconds = dict(self._seconds)
        if self._phase in TIMED and self._phase is not Phase.TRAINING:
            seconds[self._phase] += now - self._since
        return Work(
            start_time=self._start_time,
            trained=self._trained,
            idle=now - self._last,
            seconds=seconds,
            slow_iteration=self._slow_iteration(),
        )

    def _slow_iteration(self) -> float | None:
        if len(self._durations) < ENOUGH:
            return None
        return sorted(self._durations)[math.ceil(0.99 * len(self._durations)) - 1]
