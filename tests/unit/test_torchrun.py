"""A child process under supervision: its output, the first interruption, the second."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from detectron_trainer.command.torchrun import Interruptions, fetch_progress, read_termination_log, supervise

SAVES_WHEN_ASKED = """
import signal, sys, time
def save(number, frame):
    print("saved", flush=True)
    sys.exit(1)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(600)
"""

IGNORES_WITH_A_CHILD = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


class Watcher:
    """Runs a program under supervision and keeps what it heard."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log.txt"
        self.interruptions = Interruptions()
        self.lines: list[str] = []

    def supervise(
        self,
        program: str,
        on_line: Callable[[], None] = lambda: None,
        on_stop: Callable[[], None] = lambda: None,
    ) -> int:
        def note(line: str) -> None:
            self.lines.append(line)
            on_line()

        with self.interruptions.listening():
            return supervise(
                [sys.executable, "-c", program],
                dict(os.environ),
                log=self.log,
                interruptions=self.interruptions,
                on_line=note,
                on_tick=lambda: None,
                on_stop=on_stop,
            )


def wait_for_the_end(pid: int) -> None:
    """Wait until a process that is nobody's child here has ended; init may not have collected it yet."""
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.01)


def close_session() -> None:
    for number in (signal.SIGHUP, signal.SIGTERM):
        os.kill(os.getpid(), number)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_output_goes_to_the_log_and_the_listener(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path)
    watcher.log.write_text("of an earlier run\n")

    status = watcher.supervise("import os; os.write(1, b'one\\n\\xff\\nno newline'); os._exit(3)")

    assert status == 3
    assert watcher.lines == ["one", "\ufffd", "no newline"]
    assert watcher.log.read_bytes() == b"of an earlier run\none\n\xff\nno newline"


def test_the_first_interruption_asks_the_child_to_stop(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path)
    stops: list[str] = []

    status = watcher.supervise(
        SAVES_WHEN_ASKED,
        on_line=lambda: interrupt() if watcher.lines == ["ready"] else None,
        on_stop=lambda: stops.append("stop"),
    )

    assert status == 1
    assert watcher.lines == ["ready", "saved"]
    assert stops == ["stop"]
    assert watcher.interruptions.received == [signal.SIGINT]


@pytest.mark.parametrize(
    ("received", "first"),
    [
        ([], None),
        ([signal.SIGINT, signal.SIGHUP], signal.SIGINT),
        ([signal.SIGPIPE, signal.SIGINT], signal.SIGPIPE),
        ([signal.SIGHUP, signal.SIGPIPE], signal.SIGHUP),
        ([signal.SIGPIPE, signal.SIGHUP], signal.SIGHUP),
        ([signal.SIGINT, signal.SIGPIPE, signal.SIGHUP], signal.SIGINT),
    ],
)
def test_a_terminal_that_hangs_up_is_told_before_the_output_that_goes_with_it(
    received: list[int], first: int | None
) -> None:
    interruptions = Interruptions()
    interruptions.received.extend(received)
    assert interruptions.first == first


def test_the_second_interruption_kills_it_with_what_it_started(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path)

    status = watcher.supervise(IGNORES_WITH_A_CHILD, on_line=interrupt, on_stop=interrupt)

    assert status == -signal.SIGKILL
    wait_for_the_end(int(watcher.lines[0]))


def test_a_closing_session_may_send_its_signals_twice(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path)

    status = watcher.supervise(
        SAVES_WHEN_ASKED,
        on_line=lambda: os.kill(os.getpid(), signal.SIGHUP) if watcher.lines == ["ready"] else None,
        on_stop=close_session,
    )

    assert status == 1
    assert watcher.lines == ["ready", "saved"]


def test_a_log_that_cannot_be_written_does_not_stop_the_child(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path)
    watcher.log = Path("/dev/full")

    status = watcher.supervise("print('x' * 200_000); print('done')")

    assert status == 0
    assert watcher.lines[-1] == "done"
    assert any("/dev/full cannot be written" in line for line in watcher.lines)


def test_the_childs_terminal_is_its_own(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path)

    watcher.supervise("import os; print(os.getsid(0) == os.getpid())")

    assert watcher.lines == ["True"]


def test_signals_are_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interruptions().listening():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_nobody_serving_is_no_progress(unused_port: int) -> None:
    assert fetch_progress(unused_port) is None


def test_a_missing_or_strange_termination_log_is_none(tmp_path: Path) -> None:
    (tmp_path / "strange").write_bytes(b"\xff{")

    assert read_termination_log(tmp_path / "missing") is None
    assert read_termination_log(tmp_path / "strange") is None


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
