"""The process group: who this process is among the others, and how they talk beside the gradients."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from detectron_trainer.detectron2_compat import create_local_process_group
from detectron_trainer.failures import InvalidConfigError, Problem

STEP_TIMEOUT = timedelta(minutes=10)
"""How long a rank waits for the others within a step; covers the slowest batch."""
CONTROL_TIMEOUT = timedelta(minutes=60)
"""How long ranks wait outside of steps: rank 0 alone reads checkpoints and computes average precision."""

_VERDICT = "detectron_trainer/verdict"
_CHUNK = 1 << 28

_logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class World:
    """This process among `size`; `control` is a gloo group of all of them, `store` their key-value store."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    device: torch.device
    control: dist.ProcessGroup
    store: Store

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @property
    def speaks_for_pod(self) -> bool:
        return self.local_rank == 0

    @property
    def can_talk(self) -> bool:
        """False once the user's code has taken the process group down, as programs do in the end."""
        return dist.is_initialized()

    def barrier(self) -> None:
        """Wait for all ranks, for as long as `CONTROL_TIMEOUT`."""
        dist.barrier(group=self.control)

    def any(self, flag: bool) -> bool:
        """Whether `flag` holds on some rank; all ranks call it."""
        flags = torch.tensor([int(flag)])
        dist.all_reduce(flags, dist.ReduceOp.MAX, group=self.control)
        return bool(flags.item())

    def longest(self, length: int) -> int:
        """The largest `length` of all ranks; all ranks call it."""
        lengths = torch.tensor([length])
        dist.all_reduce(lengths, dist.ReduceOp.MAX, group=self.control)
        return int(lengths.item())

    def gather(self, item: T) -> list[T]:
        """Every rank's `item`, by rank, on every rank."""
        items: list[T] = [item] * self.size
        dist.all_gather_object(items, item, group=self.control)
        return items

    def broadcast(self, item: T) -> T:
        """Rank 0's `item` on every rank."""
        items = [item]
        dist.broadcast_object_list(items, src=0, group=self.control)
        return items[0]

    def broadcast_bytes(self, content: bytes | None) -> bytes:
        """Rank 0's `content`, such as a checkpoint of some hundred MiB, on every rank."""
        size = self.broadcast(len(content) if content is not None else 0)
        buffer = torch.frombuffer(bytearray(content), dtype=torch.uint8) if content and self.is_main else None
        if buffer is None:
            buffer = torch.empty(size, dtype=torch.uint8)
        for start in range(0, size, _CHUNK):
            dist.broadcast(buffer[start : start + _CHUNK], src=0, group=self.control)
        return buffer.numpy().tobytes()

    def post_verdict(self, verdict: str) -> None:
        """Let the peers, whose connections break next, know why this process ends."""
        try:
            self.store.compare_set(_VERDICT, "", verdict)
        except RuntimeError as error:
            _logger.debug("rank 0, which keeps the store, has ended: %s", error)

    def posted_verdict(self) -> str | None:
        """Why the first process to fail did, where it could say so.

        Raises:
            RuntimeError: rank 0 has ended, and the store with it.
        """
        return self.store.get(_VERDICT).decode() if self.store.check([_VERDICT]) else None


@contextmanager
def join(environment: Mapping[str, str], device_type: str) -> Iterator[World]:
    """Join the process group that torchrun's variables describe, also where it is of this process alone.

    `device_type` is the config's MODEL.DEVICE: NCCL and a GPU a process for cuda, gloo for cpu. After a
    failure the group is left as it is: taking it down would wait for peers that are gone.

    Raises:
        InvalidConfigError: the node has fewer GPUs than processes.
    """
    local_rank, local_size = int(environment["LOCAL_RANK"]), int(environment["LOCAL_WORLD_SIZE"])
    device = _own_device(device_type, local_rank, local_size)
    store, rank, size = next(rendezvous("env://", timeout=STEP_TIMEOUT))
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=STEP_TIMEOUT)
    control = dist.new_group(backend="gloo", timeout=CONTROL_TIMEOUT)
    create_local_process_group(local_size)
    world = World(
        rank=rank,
        size=size,
        local_rank=local_rank,
        local_size=local_size,
        device=device,
        control=control,
        store=store,
    )
    yield world
    if world.can_talk:
        dist.destroy_process_group()


def _own_device(device_type: str, local_rank: int, local_size: int) -> torch.device:
    if device_type == "cpu":
        return torch.device("cpu")
    if torch.cuda.device_count() < local_size:
        message = f"{local_size} processes a node need as many GPUs; this one has {torch.cuda.device_count()}"
        raise InvalidConfigError([Problem("spec.numProcPerNode", message)])
    device = torch.device("cuda", local_rank)
    # Before the process group starts: NCCL takes the current device.
    torch.cuda.set_device(device)
    return device
