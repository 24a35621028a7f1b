"""What a worker asks of the torchrun that started it."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

END_FOR_GOOD = signal.SIGHUP
"""torchrun passes it on to its workers and ends; in a pod nobody else sends it."""


def end_for_good(environment: Mapping[str, str]) -> None:
    """Have torchrun end this pod where it would start the workers anew, which would come to the same end."""
    if int(environment["TORCHELASTIC_RESTART_COUNT"]) < int(environment["TORCHELASTIC_MAX_RESTARTS"]):
        signal.signal(END_FOR_GOOD, signal.SIG_IGN)
        os.kill(os.getppid(), END_FOR_GOOD)
