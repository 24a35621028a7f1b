"""torchrun as a child process: its output line by line, its progress, and its end."""

from __future__ import annotations

import http.client
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

import psutil

from detectron_trainer.progress.document import Progress

_POLL_SECONDS = 0.2
_REQUEST_SECONDS = 1.0
# A process that a worker left behind may hold the output open.
_OUTPUT_SECONDS = 5.0


class Interruptions:
    """The signals with which someone asks this process to stop, in the order in which they came."""

    def __init__(self) -> None:
        self.received: list[int] = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Collect SIGINT (Ctrl-C), SIGTERM and SIGHUP (a closed terminal) instead of dying of them."""
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        previous = {number: signal.signal(number, self._receive) for number in signals}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def output_is_gone(self) -> None:
        """Count it as an interruption that nobody reads the output any more."""
        self.received.append(signal.SIGPIPE)

    @property
    def first(self) -> int | None:
        """What ended the run, None where nothing did.

        A terminal that hangs up takes the output with it, and whoever writes may notice that first.
        """
        hung_up = signal.SIGHUP in self.received
        causes = (number for number in self.received if not (hung_up and number == signal.SIGPIPE))
        return next(causes, None)

    @property
    def impatient(self) -> bool:
        """Whether Ctrl-C came twice; a closing session sends its own signals as often as it likes."""
        return self.received.count(signal.SIGINT) > 1

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.received.append(number)


def supervise(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    log: Path,
    interruptions: Interruptions,
    on_line: Callable[[str], None],
    on_tick: Callable[[], None],
    on_stop: Callable[[], None],
) -> int:
    """Run `command` to its end and return its exit status.

    The first interruption sends it SIGTERM, upon which the workers save a checkpoint; a second Ctrl-C kills
    it and all its descendants.

    Args:
        log: gets all output, appended.
        on_line: called with each line of output, from a thread.
        on_tick: called several times a second.
        on_stop: called when the first interruption has been passed on.
    """
    # In a session of its own: a terminal's Ctrl-C would reach it too, and the workers twice.
    child = subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert child.stdout is not None
    reader = threading.Thread(target=_copy, args=(child.stdout, log, on_line), name="output", daemon=True)
    reader.start()
    try:
        _wait(child, interruptions, on_tick, on_stop)
    finally:
        if child.poll() is None:
            kill_with_descendants(child.pid)
            child.wait()
        reader.join(_OUTPUT_SECONDS)
    return child.returncode


def _wait(
    child: subprocess.Popen[bytes],
    interruptions: Interruptions,
    on_tick: Callable[[], None],
    on_stop: Callable[[], None],
) -> None:
    asked = False
    while True:
        try:
            child.wait(timeout=_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if interruptions.impatient:
                return
            if interruptions.received and not asked:
                asked = True
                child.terminate()
                on_stop()
            on_tick()
        else:
            return


def _copy(source: IO[bytes], log: Path, on_line: Callable[[str], None]) -> None:
    """Read to the end whatever happens to the log: the child would stop at a full pipe."""
    with source, log.open("ab", buffering=0) as file:
        for line in source:
            try:
                file.write(line)
            except OSError as error:
                on_line(f"WARNING {log} cannot be written: {error}")
            on_line(line.decode(errors="replace").rstrip("\r\n"))


def fetch_progress(port: int) -> Progress | None:
    """What rank 0 says at ``/progress``, None while it says nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_REQUEST_SECONDS)
    try:
        connection.request("GET", "/progress")
        answer = connection.getresponse()
        return Progress.from_json(answer.read()) if answer.status == http.client.OK else None
    except (OSError, http.client.HTTPException, ValueError):
        return None  # not up yet, or on its way out
    finally:
        connection.close()


def read_termination_log(path: Path) -> Progress | None:
    """The last progress document with the verdict, None where the workers died without one."""
    try:
        return Progress.from_json(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def kill_with_descendants(pid: int) -> None:
    """Kill a process and all that it started: torchrun's workers are in sessions of their own."""
    parent = psutil.Process(pid)
    for process in [parent, *parent.children(recursive=True)]:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue  # it has just ended
