"""What the trainer's tests share: tiny data, and runs of the real worker under the real torchrun."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from examples.digits import make_digits
from tests.trainer import tiny

ROOT = Path(__file__).parents[2]
RUN_SECONDS = 150


@dataclass
class Run:
    """One torchrun of the worker, as in one pod: where it lives, and what it left there."""

    folder: Path
    output: Path
    process: subprocess.Popen[bytes]

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

    def wait_for_row(self, iteration: float) -> None:
        """Wait until metrics.json has got to `iteration` while the run goes on."""
        deadline = time.monotonic() + RUN_SECONDS
        while not any(row["iteration"] >= iteration for row in self.rows):
            assert self.process.poll() is None, f"the run ended before iteration {iteration}:\n{self.log}"
            assert time.monotonic() < deadline, f"no iteration {iteration} in {RUN_SECONDS} s:\n{self.log}"
            time.sleep(0.02)

    def wait_for_log(self, words: str, times: int = 1) -> None:
        """Wait until the log has the words so often while the run goes on."""
        deadline = time.monotonic() + RUN_SECONDS
        while self.log.count(words) < times:
            assert self.process.poll() is None, f"the run ended before {words!r}:\n{self.log}"
            assert time.monotonic() < deadline, f"no {words!r} in {RUN_SECONDS} s:\n{self.log}"
            time.sleep(0.1)

    def kill(self) -> None:
        """End all of its processes, whatever they do."""
        workers: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            # torchrun gives each worker a session of its own.
            workers = psutil.Process(self.process.pid).children(recursive=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for worker in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
        self.process.wait()


def free_port() -> str:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def rows(output: Path) -> list[dict[str, float]]:
    """The whole rows of metrics.json; none before it exists."""
    path = output / "metrics.json"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def without_durations(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """What two runs of the same training have in common, to the last bit."""
    return [{k: v for k, v in row.items() if k not in ("time", "data_time", "eta_seconds")} for row in rows]


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
        fault: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        torchrun: Sequence[str] = ("--standalone",),
        agent: Mapping[str, str] | None = None,
    ) -> Run:
        """Start `manifest` on `processes` processes; the `output` of an earlier run makes it resume.

        `fault` is for the plugin `tests.trainer.faults`. With `agent` it is a pod's own command that runs, on
        these variables.
        """
        folder = self.folder / f"run-{len(self.runs)}"
        folder.mkdir()
        (folder / "job.yaml").write_text(json.dumps(manifest))
        output = output or folder / "output"
        inherited = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        variables = {
            "DETECTRON_MANIFEST": str(folder / "job.yaml"),
            "DETECTRON_OUTPUT": str(output),
            "DETECTRON_ATTEMPT": str(attempt),
            "DETECTRON_METRICS_PORT": "0",
            "DETECTRON_TERMINATION_LOG": str(folder / "termination.json"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [inherited.get("PYTHONPATH")])]),
            "TINY_FAULT": json.dumps(fault or {}),
        }
        command = ["torch.distributed.run", *torchrun, f"--nproc-per-node={processes}"]
        command += ["--module", "detectron_trainer"]
        if agent is not None:
            command = ["detectron_trainer.agent"]
            variables |= agent
        with (folder / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env={**inherited, **variables, **(environment or {})},
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

    def run_two_pods(self, manifest: Mapping[str, Any], **options: Any) -> tuple[Run, Run]:
        """One process in each of two pods, of which only the first has `output`; wait for both."""
        port = free_port()
        gang = [
            "--nnodes=2",
            "--rdzv-backend=c10d",
            f"--rdzv-endpoint=127.0.0.1:{port}",
            f"--rdzv-id={port}",
            "--local-addr=127.0.0.1",
        ]
        output = options.pop("output", None)
        # As in a cluster's pods, where the workers keep a store of their own.
        inherited = options.pop("environment", None) or {}
        options["environment"] = {**inherited, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
        first = self.start(manifest, output=output, torchrun=[*gang, "--rdzv-conf=is_host=true"], **options)
        second = self.start(manifest, torchrun=[*gang, "--rdzv-conf=is_host=false"], **options)
        first.wait()
        second.wait()
        return first, second

    def copy(self, output: Path) -> Path:
        """A copy of an earlier run's output, to go on in without touching it."""
        return Path(shutil.copytree(output, self.folder / f"copy-{len(self.runs)}"))


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data sets `train` (24 images) and `test` (10)."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny.write_dataset(folder / "train", 24, seed=1)
    tiny.write_dataset(folder / "test", 10, seed=2)
    return folder


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path_factory.mktemp("runs"))
    yield launcher
    for run in launcher.runs:
        run.kill()


@pytest.fixture(scope="session")
def alone(launcher: Launcher, tiny_data: Path) -> Run:
    """The whole job on one process, without a break."""
    return launcher.run(tiny.job(tiny_data))


@pytest.fixture(scope="session")
def together(launcher: Launcher, tiny_data: Path) -> Run:
    """The whole job on two processes of one pod, without a break."""
    return launcher.run(tiny.job(tiny_data), processes=2)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few small scenes of examples/digits."""
    folder = tmp_path_factory.mktemp("digits")
    make_digits.main(["--output", str(folder), "--train", "12", "--validation", "4", "--size", "96"])
    return folder
