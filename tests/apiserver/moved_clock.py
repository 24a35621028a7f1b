"""The operator with a wall clock that a test moves: `python -m tests.apiserver.moved_clock FILE flags...`.

The file holds the seconds by which the clock is off. What measures durations is left alone, as it is when an
administrator or NTP sets a machine's clock.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from detectron_operator import __main__ as operator
from detectron_operator.engine import engine


def main() -> None:
    """Run the operator with the rest of the command line as its flags."""
    file = Path(sys.argv.pop(1))

    def offset() -> float:
        return float(file.read_text())

    class Moved(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Moved:
            moved = datetime.now(tz) + timedelta(seconds=offset())
            return cls.fromtimestamp(moved.timestamp(), tz)

    engine.datetime = operator.datetime = Moved  # type: ignore[attr-defined]
    operator.main()


if __name__ == "__main__":
    main()
