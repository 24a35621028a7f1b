"""One short line for each thing done, with the seconds since the command began."""

from __future__ import annotations

import sys
import time

_BEGAN = time.monotonic()


def say(line: str) -> None:
    """Print a line to stderr, so that stdout stays free for answers such as a kubeconfig's path."""
    print(f"{time.monotonic() - _BEGAN:6.1f} s  {line}", file=sys.stderr, flush=True)
