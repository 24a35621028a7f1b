"""A plugin that runs in the trainer's pods: a model that fails once, as FAULT asks.

FAULT is `kind@iteration`; the kinds are those of `_FAULTS`. It strikes rank 1 in its first life.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN
from detectron2.utils.events import get_event_storage

_FIRST_LIFE = {"RANK": "1", "DETECTRON_ATTEMPT": "0", "TORCHELASTIC_RESTART_COUNT": "0"}


@META_ARCH_REGISTRY.register()
class FaultyRCNN(GeneralizedRCNN):  # type: ignore[misc]  # detectron2 ships no types
    """`GeneralizedRCNN`, until its fault is due."""

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        kind, _, iteration = os.environ["FAULT"].partition("@")
        result = super().forward(batched_inputs)
        due = self.training and get_event_storage().iter == int(iteration)
        if due and all(os.environ[name] == value for name, value in _FIRST_LIFE.items()):
            return _FAULTS[kind](result)
        return result


def _not_finite(losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: loss * float("nan") for name, loss in losses.items()}


def _gpu_memory(_: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def _host_memory(_: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Take memory until the kernel kills this process."""
    taken = []
    while True:
        taken.append(b"\1" * (64 << 20))


_FAULTS: dict[str, Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]] = {
    "not-finite": _not_finite,
    "gpu-memory": _gpu_memory,
    "host-memory": _host_memory,
}
