"""The operator with a wall clock that a test moves: `python -m tests.apiserver.moved_clock FILE flags...`.

The file holds the seconds by which the clock is off. What measures durations is left alone, as it is when an
administrator or NTP sets a machine's clock.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from detectron_operator import __main__ as operator


def main() -> None:
    """Run the operator with the rest of the command line as its flags."""
    file = Path(sys.argv.pop(1))

    class Moved(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Moved:
            moved = datetime.now(tz) + timedelta(seconds=float(file.read_text()))
            return cls.fromtimestamp(moved.timestamp(), tz)

    ours = [vars(module) for name, module in sys.modules.items() if name.startswith("detectron_operator")]
    for names in ours:
        if names.get("datetime") is datetime:
            names["datetime"] = Moved
    operator.main()


if __name__ == "__main__":
    main()
