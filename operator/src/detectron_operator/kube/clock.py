"""The API server's time, by which everything is decided.

What a decision compares with now is a time that the API server wrote (a creation, a deletion), or one that
this operator or the one before it wrote by the same clock. The clock of the machine that the operator happens
to run on may be set at any moment, and another machine's may be wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

_IMF_FIXDATE = "%a, %d %b %Y %H:%M:%S GMT"
_RESOLUTION = 1.0
"""Seconds; the header leaves out the fraction."""


class Clock:
    """Holds an estimate of the API server's time to what each of its answers says.

    Between answers it goes on with the monotonic clock. That one stands still while the machine is suspended:
    the estimate is then late, so nothing is decided early, until the next answer.

    Args:
        monotonic: seconds of a clock that nobody sets.
        start: the time until the first answer, with its zone.
    """

    def __init__(self, monotonic: Callable[[], float], start: datetime) -> None:
        self.monotonic = monotonic
        self._offset = start.timestamp() - monotonic()
        self._text = ""
        self._date: float | None = None

    def now(self) -> datetime:
        """The API server's time, in UTC."""
        return datetime.fromtimestamp(self._offset + self.monotonic(), UTC)

    def hear(self, date: str | None, asked: float) -> None:
        """Take in the `Date` header of an answer that came just now; one that tells no time is ignored.

        The answer was written between the question and now, in the second that the header names.

        Args:
            asked: `monotonic()` before the question was sent.
        """
        if date is None:
            return
        if date != self._text:
            self._text, self._date = date, _parsed(date)
        if self._date is not None:
            earliest, latest = self._date - self.monotonic(), self._date + _RESOLUTION - asked
            self._offset = min(max(self._offset, earliest), latest)


def _parsed(date: str) -> float | None:
    try:
        return datetime.strptime(date, _IMF_FIXDATE).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
