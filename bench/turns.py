"""Runs of training that take turns: each stands still before a forward pass until it is told to go on.

Nothing of a loop is changed for it. Only the model is one that waits, so that a turn of so many iterations
holds all that the loop does in them: data, forward and backward pass, optimizer, metrics.
"""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener, wait
from pathlib import Path
from typing import Any

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

import torch
from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN
from detectron2.utils.env import seed_all_rng
from torch import Tensor

ADDRESS = "BENCH_ADDRESS"
PATIENCE = 300
"""Seconds that a run may take until its first forward pass."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """So many iterations of one process: seconds by the clock and of its CPU time, and its losses.

    `peak` is the largest memory so far in bytes: of the GPU where there is one, else of the process.
    """

    seconds: float
    cpu_seconds: float
    losses: Sequence[float]
    peak: int


class Gate:
    """Where this process waits for its turns, and tells of each when it is over."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._left = 0
        self._began = (0.0, 0.0)
        self._losses: list[Tensor] = []

    def arrive(self) -> None:
        """Wait here unless the turn goes on; ends the process when there are no more."""
        if self._left == 0:
            self._connection.send(self._turn())
            turn = self._connection.recv()
            if turn is None:
                os._exit(0)
            self._left, self._began = turn, _now()
        self._left -= 1

    def note(self, loss: Tensor) -> None:
        self._losses.append(loss.detach())

    def _turn(self) -> Turn:
        seconds, cpu_seconds = (now - began for now, began in zip(_now(), self._began, strict=True))
        losses, self._losses = [float(loss) for loss in self._losses], []
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if torch.cuda.is_available():
            peak = torch.cuda.max_memory_allocated()
        return Turn(seconds=seconds, cpu_seconds=cpu_seconds, losses=losses, peak=peak)


def _now() -> tuple[float, float]:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic(), time.process_time()


@META_ARCH_REGISTRY.register()
class TakesTurns(GeneralizedRCNN):  # type: ignore[misc]  # detectron2 ships no types
    """`GeneralizedRCNN` that waits for its turn, and draws the same random numbers whatever runs it."""

    gate: Gate | None = None

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        if self.gate is None:
            self.gate = Gate(Client(os.environ[ADDRESS]))
            self.gate.arrive()
            seed_all_rng(int(os.environ["RANK"]))
        else:
            self.gate.arrive()
        losses = super().forward(batched_inputs)
        self.gate.note(torch.stack([loss.detach() for loss in losses.values()]).sum())
        return losses


class Run:
    """One contestant: its processes, of which each has come to its gate, and the seconds until then."""

    def __init__(self, connections: Sequence[Connection], folder: Path, startup: float) -> None:
        self._connections = connections
        self._folder = folder
        self.startup = startup

    def turn(self, iterations: int) -> list[Turn]:
        """Let all processes train so many iterations and wait for them; one turn a process.

        Raises:
            RuntimeError: one has ended.
        """
        for connection in self._connections:
            connection.send(iterations)
        try:
            return [connection.recv() for connection in self._connections]
        except EOFError as error:
            raise RuntimeError(f"a run has ended:\n{_logs(self._folder)}") from error


@contextmanager
def started(
    command: Sequence[str], processes: int, port: int, folder: Path, environment: Mapping[str, str]
) -> Iterator[Run]:
    """Start `command` as so many ranks and wait until all have come to their first forward pass.

    Raises:
        RuntimeError: one has ended before that; its output is in `folder`.
    """
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        listener = stack.enter_context(Listener(str(folder / "socket"), backlog=processes))
        began = time.monotonic()
        children = [
            stack.enter_context(_ended(_start(command, rank, processes, port, folder, environment)))
            for rank in range(processes)
        ]
        connections = []
        for _ in children:
            _wait_readable(listener, children, folder)
            connections.append(stack.enter_context(listener.accept()))
        for connection in connections:
            connection.recv()
        yield Run(connections, folder, time.monotonic() - began)
        for connection in connections:
            connection.send(None)


def _start(
    command: Sequence[str],
    rank: int,
    processes: int,
    port: int,
    folder: Path,
    environment: Mapping[str, str],
) -> subprocess.Popen[bytes]:
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    variables = {name: str(place) for name, place in places.items()}
    rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), ADDRESS: str(folder / "socket")}
    with (folder / f"rank-{rank}.log").open("wb") as log:
        return subprocess.Popen(
            command,
            env={**os.environ, **environment, **variables, **rendezvous},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


@contextmanager
def _ended(child: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def _wait_readable(listener: Listener, children: Sequence[subprocess.Popen[bytes]], folder: Path) -> None:
    """Wait for the next process to connect, or for one to end."""
    deadline = time.monotonic() + PATIENCE
    socket = listener._listener._socket  # type: ignore[attr-defined]
    while not wait([socket], timeout=0.5):
        if any(child.poll() is not None for child in children) or time.monotonic() > deadline:
            raise RuntimeError(f"a run did not come to its first iteration:\n{_logs(folder)}")


def _logs(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.glob("rank-*.log")))
