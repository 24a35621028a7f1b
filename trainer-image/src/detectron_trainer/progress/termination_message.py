"""The termination message: a pod's last progress document, which the kubelet hands to the API server."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from detectron_trainer.progress.document import BYTE_LIMIT, Progress


def write_termination_message(path: Path, progress: Progress) -> None:
    """Write `progress` to the termination log, unless a verdict stands there already.

    The first process of a pod to fail knows the cause, its peers only that a connection broke: the first
    verdict stays. The file is written in place because in a pod it is a mount of its own.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not _holds_verdict(file.read(BYTE_LIMIT)):
            file.seek(0)
            file.truncate()
            file.write(progress.to_json().encode())


def clear_termination_message(path: Path) -> None:
    """Take back what earlier workers of this pod have left: torchrun restarted them, so the pod goes on."""
    if path.exists():
        os.truncate(path, 0)


def _holds_verdict(content: bytes) -> bool:
    try:
        return Progress.from_json(content).verdict is not None
    except ValueError:
        return False
