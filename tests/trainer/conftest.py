"""What the trainer's tests share: tiny data, and runs of the real worker under the real torchrun."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.trainer import tiny

RUN_SECONDS = 150


@dataclass
class Run:
    """A torchrun of the worker: where it lives, and what it left there."""

    folder: Path
    output: Path
    process: subprocess.Popen[bytes]
    workers: dict[int, int] = field(default_factory=dict)

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    @property
    def message(self) -> dict[str, Any]:
        """The termination message: the last progress document."""
        document: dict[str, Any] = json.loads((self.folder / "termination.json").read_text())
        return document

    @property
    def verdict(self) -> dict[str, Any]:
        verdict: dict[str, Any] = self.message["verdict"]
        return verdict

    @property
    def rows(self) -> list[dict[str, float]]:
        return rows(self.output)

    def wait(self) -> int:
        """Wait for the end; returns the exit code."""
        return self.process.wait(timeout=RUN_SECONDS)

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until `condition` holds while the run goes on."""
        deadline = time.monotonic() + RUN_SECONDS
        while not condition():
            assert self.process.poll() is None, f"the run ended before {what}:\n{self.log}"
            assert time.monotonic() < deadline, f"no {what} within {RUN_SECONDS} s:\n{self.log}"
            time.sleep(0.02)

    def wait_for_row(self, iteration: int) -> None:
        """Wait until metrics.json holds `iteration`."""
        self.wait_for(
            lambda: any(row["iteration"] >= iteration for row in self.rows), f"iteration {iteration}"
        )

    def worker(self, rank: int) -> int:
        """The process id of a rank."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in map(int, children):
            variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            if f"RANK={rank}".encode() in variables:
                return child
        raise AssertionError(f"torchrun has no worker of rank {rank}:\n{self.log}")

    def stop(self) -> None:
        """End all of its processes, whatever they do."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def rows(output: Path) -> list[dict[str, float]]:
    """The whole rows of metrics.json; none before it exists."""
    path = output / "metrics.json"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


@dataclass
class Launcher:
    """Starts runs and ends those that a failed test has left."""

    folder: Path
    runs: list[Run] = field(default_factory=list)

    def start(
        self,
        manifest: Mapping[str, Any],
        *,
        output: Path | None = None,
        processes: int = 1,
        attempt: int = 0,
        environment: Mapping[str, str] | None = None,
        module: str = "detectron_trainer",
    ) -> Run:
        """Start `manifest` on `processes` processes; `output` of an earlier run makes it resume."""
        folder = self.folder / f"run-{len(self.runs)}"
        folder.mkdir()
        (folder / "job.yaml").write_text(json.dumps(manifest))
        output = output or folder / "output"
        variables = {
            **{key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"},
            "DETECTRON_MANIFEST": str(folder / "job.yaml"),
            "DETECTRON_OUTPUT": str(output),
            "DETECTRON_ATTEMPT": str(attempt),
            "DETECTRON_METRICS_PORT": "0",
            "DETECTRON_TERMINATION_LOG": str(folder / "termination.json"),
            "OMP_NUM_THREADS": "1",
            **(environment or {}),
        }
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        with (folder / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                [*torchrun, f"--nproc-per-node={processes}", "--module", module],
                env=variables,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        run = Run(folder, output, process)
        self.runs.append(run)
        return run

    def run(self, manifest: Mapping[str, Any], **options: Any) -> Run:
        """Start as `start` does and wait for the end."""
        run = self.start(manifest, **options)
        run.wait()
        return run


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data sets `train` (24 images) and `test` (6)."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny.write_dataset(folder / "train", 24, seed=1)
    tiny.write_dataset(folder / "test", 6, seed=2)
    return folder


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Any:
    launcher = Launcher(tmp_path_factory.mktemp("runs"))
    yield launcher
    for run in launcher.runs:
        run.stop()
