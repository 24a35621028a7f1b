"""The operator as a process, with its settings as the chart leaves them, and what it costs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.apiserver.operator_process import free_port

LEASE = "default/detectron-operator"
_TICKS = os.sysconf("SC_CLK_TCK")
_RECONCILES = re.compile(r"^detectron_operator_reconcile_total\{.*\} (\S+)$", re.MULTILINE)
_DEPTH = re.compile(r"^detectron_operator_workqueue_depth (\S+)$", re.MULTILINE)
_REQUESTS = re.compile(r"^detectron_operator_api_requests_total\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Cost:
    """What a process has used so far: seconds of CPU, MiB of memory now and at most."""

    cpu: float
    resident: float
    peak: float


class OperatorProcess:
    """Started in a `with`; its log is `<directory>/operator.log`."""

    def __init__(self, directory: Path, kubeconfig: Path) -> None:
        self.health, self.metrics = free_port(), free_port()
        self._command = [
            sys.executable,
            "-m",
            "detectron_operator",
            "--trainer-image=trainer:bench",
            f"--lease={LEASE}",
            f"--health-port={self.health}",
            f"--metrics-port={self.metrics}",
        ]
        self._env = os.environ | {"KUBECONFIG": str(kubeconfig)}
        self._log = directory / "operator.log"

    def __enter__(self) -> OperatorProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it works, or stands by."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._env, stdout=log, stderr=log)
        try:
            self._wait_ready()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Tell it to stop, and wait until it has."""
        self._process.terminate()
        self._process.wait()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def cost(self) -> Cost:
        """What it has used so far."""
        root = Path(f"/proc/{self._process.pid}")
        fields = (root / "stat").read_text().rpartition(")")[2].split()
        status = dict(line.split(":", 1) for line in (root / "status").read_text().splitlines())
        return Cost(
            cpu=(int(fields[11]) + int(fields[12])) / _TICKS,
            resident=int(status["VmRSS"].split()[0]) / 1024,
            peak=int(status["VmHWM"].split()[0]) / 1024,
        )

    def requests(self) -> Counter[str]:
        """Its requests other than watches and those about its Lease so far, by `verb resource`."""
        found: Counter[str] = Counter()
        for labels, count in _REQUESTS.findall(self._exposition()):
            label = dict(_LABEL.findall(labels))
            if label["resource"] != "leases":
                found[f"{label['verb']} {label['resource']}"] += int(float(count))
        return found

    def has_looked_at(self, jobs: int) -> bool:
        """Whether it has worked on so many jobs since it started, and none waits."""
        text = self._exposition()
        looked = sum(float(count) for count in _RECONCILES.findall(text))
        return looked >= jobs and _DEPTH.findall(text) == ["0.0"]

    def _exposition(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
        return text

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.health}/readyz", timeout=5).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the operator did not start:\n{self._log.read_text()}") from None
                time.sleep(0.05)
