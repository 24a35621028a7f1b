"""How ranks wait for each other."""

from __future__ import annotations

import socket
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist

from detectron_trainer.gang.world import join


def test_outside_of_steps_ranks_wait_for_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 0 alone reads checkpoints and computes average precision, which takes more than a step may."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    variables = {
        "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with join(variables, "cpu") as world:
        assert waits(world.control) == timedelta(minutes=60)
        assert waits(dist.group.WORLD) == timedelta(minutes=10)


def waits(group: dist.ProcessGroup | None) -> timedelta:
    assert group is not None
    timeout: timedelta = group._get_backend(torch.device("cpu")).options._timeout
    return timeout
