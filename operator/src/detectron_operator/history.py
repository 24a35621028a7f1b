"""What was decided about a job's attempts so far, as the status keeps it, and the pause before the next."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from detectron_operator import shape
from detectron_operator.api import MAX_NODES
from detectron_operator.numbers import timestamp

FIRST_PAUSE = timedelta(seconds=5)
"""Before the second restart in a row; the first one follows at once. It doubles from there on."""

MAX_PAUSE = timedelta(hours=1)
"""The most that a job may ask for."""

STEADY = timedelta(minutes=10)
"""A gang that has run for so long is no longer one that falls over again and again."""

MAX_REASONS = 16
OTHER = "Other"
"""Counts the restarts for further reasons."""

_JITTER = 0.2
_MAX_COUNT = 2**31


@dataclass(frozen=True, kw_only=True)
class History:
    """The newest attempt, and what it took to get there.

    `restarts` are those that count against backoffLimit, `by_reason` has all. `in_a_row` are those, counted
    or not, since a gang last ran for `STEADY`; `last_restart` is when the last of them was decided, and
    `last_cause` what it followed from, as the status tells it. Missing pods are not created before
    `not_before`. `replacements` says, by node index, how many pods took the place of the attempt's first one.
    """

    attempt: int = 0
    restarts: int = 0
    in_a_row: int = 0
    by_reason: Mapping[str, int] = field(default_factory=dict)
    last_restart: datetime | None = None
    not_before: datetime | None = None
    replacements: Mapping[int, int] = field(default_factory=dict)
    last_cause: Mapping[str, object] = field(default_factory=dict)

    def in_attempt(self, attempt: int) -> History:
        """With another attempt as the newest, in which nothing has been replaced yet."""
        return self if attempt == self.attempt else replace(self, attempt=attempt, replacements={})

    def replaced(self, indexes: Iterable[int]) -> History:
        """With one more replacement for each of these nodes."""
        more = {index: self.replacements.get(index, 0) + 1 for index in indexes}
        return replace(self, replacements={**self.replacements, **more})

    def restarted(self, reason: str, *, counts: bool, steady: bool) -> History:
        """With one more restart; `steady` says that the gang before it ran for long enough."""
        known = reason in self.by_reason or len(self.by_reason) < MAX_REASONS - 1
        word = reason if known else OTHER
        return replace(
            self,
            restarts=self.restarts + counts,
            in_a_row=1 if steady else self.in_a_row + 1,
            by_reason={**self.by_reason, word: self.by_reason.get(word, 0) + 1},
            not_before=None,
        )

    def left(self, now: datetime) -> float:
        """Seconds until the attempt may start; longer than any pause means a clock that was set."""
        if self.not_before is None:
            return 0.0
        left = self.not_before - now
        return left.total_seconds() if timedelta() < left <= MAX_PAUSE else 0.0

    def record(self) -> dict[str, object]:
        """As fields of `.status`."""
        told: dict[str, object] = {"attempt": self.attempt, "restarts": self.restarts}
        if self.in_a_row:
            told["restartsInARow"] = self.in_a_row
        if self.by_reason:
            told["restartsByReason"] = [
                {"reason": reason, "count": count} for reason, count in sorted(self.by_reason.items())
            ]
        if self.last_restart is not None:
            told["lastRestartTime"] = timestamp(self.last_restart)
        if self.last_cause:
            told["lastRestartCause"] = dict(self.last_cause)
        if self.not_before is not None:
            told["nextAttemptTime"] = timestamp(self.not_before)
        if self.replacements:
            told["replacements"] = [
                {"index": index, "count": count} for index, count in sorted(self.replacements.items())
            ]
        return told


def read_history(status: Mapping[str, object]) -> History:
    """What the status tells; nothing has happened where it tells nothing."""
    listed = shape.sequence(
        status.get("restartsByReason", ()), "status.restartsByReason", at_most=MAX_REASONS
    )
    counts = [shape.mapping(item, "status.restartsByReason") for item in listed]
    path = "status.replacements"
    listed = shape.sequence(status.get("replacements", ()), path, at_most=MAX_NODES)
    replacements = [shape.mapping(item, path) for item in listed]
    due, last = status.get("nextAttemptTime"), status.get("lastRestartTime")
    return History(
        attempt=_count(status, "attempt"),
        restarts=_count(status, "restarts"),
        in_a_row=_count(status, "restartsInARow"),
        by_reason={str(item.get("reason")): _count(item, "count") for item in counts},
        replacements={_count(item, "index"): _count(item, "count") for item in replacements},
        last_restart=None if last is None else shape.time(last, "status.lastRestartTime"),
        last_cause=shape.mapping(status.get("lastRestartCause", {}), "status.lastRestartCause"),
        not_before=None if due is None else shape.time(due, "status.nextAttemptTime"),
    )


def back_off(in_a_row: int, longest: timedelta, seed: str) -> timedelta:
    """The pause before a restart: none, `FIRST_PAUSE`, then twice the one before, `longest` at most.

    Up to a fifth of it is left out, by chance but the same for the same `seed`, so that jobs which failed
    together do not come back together.
    """
    if in_a_row < 2:
        return timedelta()
    doubled = FIRST_PAUSE * (1 << min(in_a_row - 2, 20))
    chance = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4]) / 2**32
    return min(doubled, longest) * (1 - _JITTER * chance)


def _count(raw: Mapping[str, object], key: str) -> int:
    return shape.integer(raw.get(key, 0), f"status.{key}", at_least=0, at_most=_MAX_COUNT)
