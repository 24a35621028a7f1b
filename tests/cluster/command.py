"""Running another program to its end."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping


class CommandError(RuntimeError):
    """A program failed; the message has its command line and the end of what it printed."""


def run(
    *argv: str, stdin: str | None = None, env: Mapping[str, str] | None = None, timeout: float = 600
) -> str:
    """Run a program and return its stdout.

    Raises:
        CommandError: it exited with another status than 0.
    """
    done = subprocess.run(
        argv, input=stdin, env=env, capture_output=True, text=True, timeout=timeout, check=False
    )
    if done.returncode:
        printed = "\n".join(text[-4000:] for text in (done.stdout.strip(), done.stderr.strip()) if text)
        raise CommandError(f"`{' '.join(argv)}` exited with {done.returncode}:\n{printed}")
    return done.stdout
