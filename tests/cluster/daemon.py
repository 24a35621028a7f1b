"""A long-running program: started, watched, killed, and found again through its pid file."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.waiting import wait_until

# The kernel sends a parent-death signal when the *thread* that started the child ends, so one thread that
# lives as long as this process starts them all.
_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


class DaemonError(RuntimeError):
    """A program ended when it should have run."""


@dataclass(frozen=True)
class Process:
    """A pid with its start time (clock ticks since boot), so that a recycled pid is never taken for it."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has this pid now; None if there is none or only a zombie of it."""
        try:
            # The command name in field 2 may hold anything, also spaces and parentheses.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        state, threads, start_time = fields[0], int(fields[17]), int(fields[19])
        # As long as one of its threads lives, a zombie has its files and ports.
        return None if state in "ZX" and threads <= 1 else cls(pid, start_time)

    def alive(self) -> bool:
        return Process.of(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if the process is gone."""
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


@dataclass
class Daemon:
    """One program with its log `<directory>/<name>.log` and pid file `<directory>/<name>.pid`.

    Unless `detached`, it dies with the process that started it, however that ends.
    """

    name: str
    argv: tuple[str, ...]
    directory: Path
    env: Mapping[str, str] = field(default_factory=dict)
    detached: bool = False
    _child: int | None = None

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        return self.directory / f"{self.name}.pid"

    def process(self) -> Process | None:
        """The running process, found by the pid file; None if it does not run."""
        self._reap()
        try:
            pid, started = map(int, self.pid_file.read_text().split())
        except FileNotFoundError:
            return None
        process = Process(pid, started)
        return process if process.alive() else None

    def alive(self) -> bool:
        return self.process() is not None

    def start(self) -> None:
        """Start it unless it runs."""
        if self.alive():
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        bound = () if self.detached else ("setpriv", "--pdeathsig", "KILL", "--")
        child = self._child = _SPAWNER.submit(self._spawn, (*bound, *self.argv)).result()
        # The program dies with us only once setpriv has become it, whole: then its arguments can be read.
        wait_until(lambda: _program(child) in (None, self.argv[0]), 30, f"{self.name} to begin")
        process = Process.of(child)
        if process is None:
            raise DaemonError(self._ended())
        partial = self.pid_file.with_suffix(".pid-partial")
        partial.write_text(f"{process.pid} {process.started}\n")
        partial.rename(self.pid_file)

    def _spawn(self, argv: tuple[str, ...]) -> int:
        output = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        # What our own parent has open, a lock for instance, is not to stay open as long as the program runs.
        for inherited in Path("/proc/self/fd").iterdir():
            if int(inherited.name) > 2:
                with contextlib.suppress(OSError):  # closed meanwhile, as that of this listing is
                    os.set_inheritable(int(inherited.name), False)
        files = (
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self.log), output, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        )
        return os.posix_spawnp(argv[0], argv, os.environ | dict(self.env), file_actions=files, setsid=True)

    def _reap(self, wait: bool = False) -> None:
        """Let the kernel forget the child if it has ended."""
        if self._child is not None:
            ended, _ = os.waitpid(self._child, 0 if wait else os.WNOHANG)
            self._child = None if ended else self._child

    def signal(self, number: signal.Signals) -> None:
        """Send a signal (SIGSTOP and SIGCONT freeze and thaw it); nothing happens if it does not run."""
        if process := self.process():
            process.send(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if process := self.process():
            process.send(signal.SIGKILL)
            wait_until(lambda: self.process() is None, 10, f"{self.name} (pid {process.pid}) to die")
            self._reap(wait=True)  # it may have died between the last look at its end and that at its state
        self.pid_file.unlink(missing_ok=True)

    def check(self) -> None:
        """Raise DaemonError with the end of its log unless it runs."""
        if not self.alive():
            raise DaemonError(self._ended())

    def _ended(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([f"{self.name} ended; the end of {self.log}:", *lines[-20:]])


def _program(pid: int) -> str | None:
    """The first argument of a process, None if there is no such process; empty in the middle of an exec."""
    if Process.of(pid) is None:
        return None
    return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").partition("\0")[0]
