"""The operator as a process of its own, with the settings that a test wants."""

import signal
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

from tests.cluster.daemon import Daemon
from tests.cluster.waiting import wait_until


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Operator:
    """`python -m detectron_operator` in `directory`, against the API server of `kubeconfig`.

    Args:
        settings: flags, with underscores for dashes.
    """

    def __init__(self, directory: Path, kubeconfig: Path, **settings: object) -> None:
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
        command = (sys.executable, "-m", "detectron_operator", *flags)
        self.daemon = Daemon("operator", command, directory, {"KUBECONFIG": str(kubeconfig)})

    def __enter__(self) -> "Operator":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.daemon.kill()

    @property
    def log(self) -> str:
        """All that it has logged."""
        return self.daemon.log.read_text()

    def start(self) -> None:
        """Start it and wait until it says that it is well."""
        self.daemon.start()
        wait_until(self._is_up, 30, "the operator to be up")

    def terminate(self) -> int:
        """Tell it to stop, as a kubelet does; returns its exit code."""
        self.daemon.signal(signal.SIGTERM)
        return self.exit_code()

    def exit_code(self) -> int:
        """Wait until it has ended; returns its exit code."""
        child = self.daemon._child
        assert child is not None
        return child.wait(timeout=40)

    def health(self) -> tuple[int, str]:
        """Status and body of /healthz; status 0 if nobody answers."""
        return _get(self.health_port, "/healthz")

    def metrics(self) -> str:
        """What it tells Prometheus."""
        return _get(self.metrics_port, "/metrics")[1]

    def _is_up(self) -> bool:
        self.daemon.check()
        return self.health()[0] == 200


def _get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)
