"""The operator as a process of its own, with the settings that a test wants."""

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from tests.cluster.waiting import wait_until

OPERATOR = ("detectron_operator",)
"""The module that is the operator."""


def free_port() -> int:
    """A TCP port that nobody listens on, below those that the kernel gives to connections meanwhile."""
    while True:
        port = random.randrange(15_000, 30_000)
        with contextlib.suppress(OSError), socket.create_server(("", port)):
            return port


class Operator:
    """`python -m detectron_operator` in `directory`, against the API server of `kubeconfig`.

    Args:
        program: a module to run in place of the operator's own, with arguments of its own.
        settings: flags, with underscores for dashes.
    """

    def __init__(
        self,
        directory: Path,
        kubeconfig: Path,
        program: Sequence[str] = OPERATOR,
        **settings: object,
    ) -> None:
        self.health_port, self.metrics_port = free_port(), free_port()
        chosen: dict[str, object] = {
            "trainer_image": "trainer:test",
            "health_port": self.health_port,
            "metrics_port": self.metrics_port,
            "log_format": "plain",
            "progress_port": 9,
            "poll_period": 0.2,
            "progress_period": 0.5,
        }
        chosen |= settings
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in chosen.items()]
        self._command = [sys.executable, "-m", *program, *flags]
        self._env = os.environ | {"KUBECONFIG": str(kubeconfig)}
        self._log = directory / "operator.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Operator":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that was started last."""
        assert self._process is not None, "the operator was never started"
        return self._process

    @property
    def log(self) -> str:
        """All that it has logged."""
        return self._log.read_text()

    def launch(self) -> None:
        """Start it; it dies with the test run, however that ends."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self._command],
                stdout=log,
                stderr=log,
                env=self._env,
            )

    def start(self) -> None:
        """Start it and wait until it works, or stands by."""
        self.launch()
        wait_until(self._is_up, 30, "the operator to be up")

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone; nothing happens if it was never started."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> int:
        """Tell it to stop, as a kubelet does; returns its exit code."""
        self.process.terminate()
        return self.process.wait(timeout=40)

    @contextlib.contextmanager
    def kept_alive(self) -> Iterator[list[int]]:
        """Start it again whenever it ends, as a kubelet does; yields the exit codes so far."""
        codes: list[int] = []
        over = threading.Event()

        def keep() -> None:
            while True:
                code = self.process.wait()
                if over.is_set():
                    return
                codes.append(code)
                self.launch()

        keeper = threading.Thread(target=keep, name="kubelet of the operator")
        keeper.start()
        try:
            yield codes
        finally:
            over.set()
            self.kill()
            keeper.join()

    def health(self) -> tuple[int, str]:
        """Status and body of /healthz; status 0 if nobody answers."""
        return _get(self.health_port, "/healthz")

    def metrics(self) -> str:
        """What it tells Prometheus."""
        return _get(self.metrics_port, "/metrics")[1]

    def _is_up(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"the operator ended with {self.process.returncode}:\n{self.log[-4000:]}")
        return _get(self.health_port, "/readyz")[0] == 200


def _get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)
