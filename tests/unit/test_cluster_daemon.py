"""Programs that are started, found again and killed by their pid files."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.daemon import Daemon, DaemonError, Process
from tests.cluster.waiting import wait_until

_SLEEP = ("sleep", "600")


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon("sleeper", _SLEEP, tmp_path)
    yield daemon
    daemon.kill()


def test_another_process_finds_it_by_its_pid_file(sleeper: Daemon, tmp_path: Path) -> None:
    sleeper.start()

    assert Daemon("sleeper", _SLEEP, tmp_path).process() == sleeper.process()


def test_starting_what_runs_changes_nothing(sleeper: Daemon) -> None:
    sleeper.start()
    before = sleeper.process()
    sleeper.start()

    assert sleeper.process() == before


def test_a_recycled_pid_is_not_taken_for_it(sleeper: Daemon, tmp_path: Path) -> None:
    sleeper.start()
    process = sleeper.process()
    assert process is not None
    stale = Daemon("stale", _SLEEP, tmp_path)
    stale.pid_file.write_text(f"{process.pid} {process.started - 1}\n")

    stale.kill()

    assert sleeper.process() == process


def test_a_zombie_is_not_gone_while_one_of_its_threads_lives(tmp_path: Path) -> None:
    """Its ports are still taken then, and whoever starts it again at once would find so."""
    go = tmp_path / "go"
    program = (
        "import ctypes, os, threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.02)\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    half_dead = Daemon("half-dead", (sys.executable, "-c", program), tmp_path)
    half_dead.start()
    process = half_dead.process()
    assert process is not None
    go.touch()
    state = Path(f"/proc/{process.pid}/stat")
    wait_until(lambda: state.read_text().rpartition(")")[2].split()[0] == "Z", 30, "the first thread's end")

    assert process.alive()
    half_dead.kill()
    assert not process.alive()


def test_killing_waits_until_it_is_gone(sleeper: Daemon) -> None:
    sleeper.start()
    process = sleeper.process()
    assert process is not None

    sleeper.kill()

    assert not process.alive()
    assert not sleeper.pid_file.exists()


def test_a_program_that_ended_is_reported_with_its_log(tmp_path: Path) -> None:
    daemon = Daemon("broken", ("sh", "-c", "echo no such flag >&2; exit 2"), tmp_path)

    def start_and_check() -> None:
        daemon.start()  # which may see the end already
        wait_until(lambda: not daemon.alive(), 10, "the program to end")
        daemon.check()

    with pytest.raises(DaemonError, match="no such flag"):
        start_and_check()


def test_it_dies_with_the_process_that_started_it_unless_detached(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from tests.cluster.daemon import Daemon
for name, detached in (("bound", False), ("free", True)):
    Daemon(name, ("sleep", "600"), Path(sys.argv[1]), detached=detached).start()
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=root, check=False)
    bound, free = (Daemon(name, _SLEEP, tmp_path) for name in ("bound", "free"))

    wait_until(lambda: not bound.alive(), 10, "the bound program to die")
    process = free.process()
    assert process is not None
    process.send(signal.SIGKILL)


def test_it_does_not_hold_on_to_what_its_starter_inherited(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.set_inheritable(file.fileno(), True)
        daemon = Daemon("sleeper", _SLEEP, tmp_path)
        daemon.start()
    try:
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        daemon.kill()


def test_a_zombie_is_no_process() -> None:
    child = subprocess.Popen(["true"])
    wait_until(lambda: Process.of(child.pid) is None, 10, "the child to become a zombie")

    assert os.path.exists(f"/proc/{child.pid}")
    child.wait()
