"""A plugin as a user might write one, whose model has an accident at a chosen step.

``TINY_FAULT='{"kind": "nan", "rank": 1, "step": 3}'`` picks kind, rank and the 0-based number of the forward
pass in this process. Steps of training and of inference (kind ``evaluation-sigterm``) count apart.
`FaultyMapper`, as the job's mapper, has its own (kind ``loading-sigterm``) where it reads its first image.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import torch
from detectron2.data import DatasetMapper
from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN

FAULT: dict[str, Any] = json.loads(os.environ.get("TINY_FAULT", "{}"))


@META_ARCH_REGISTRY.register()
class FaultyRCNN(GeneralizedRCNN):  # type: ignore[misc]
    """`GeneralizedRCNN` with the accident of `FAULT`."""

    steps = 0
    inferences = 0

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        losses = super().forward(batched_inputs)
        if FAULT.get("rank") != int(os.environ["RANK"]):
            return losses
        step = self.steps if self.training else self.inferences
        if self.training:
            self.steps += 1
        else:
            self.inferences += 1
        happens = step == FAULT["step"] and self.training != FAULT["kind"].startswith("evaluation-")
        return _accident(FAULT["kind"].removeprefix("evaluation-"), losses) if happens else losses


class FaultyMapper(DatasetMapper):  # type: ignore[misc]
    """`DatasetMapper` with the accident of `FAULT` at the first image, in the process that reads it."""

    def __init__(self, cfg: Any, is_train: bool) -> None:
        super().__init__(cfg, is_train)
        self._is_due = is_train and FAULT.get("kind", "").startswith("loading-")

    def __call__(self, dataset_dict: dict[str, Any]) -> Any:
        if self._is_due:
            self._is_due = False
            if FAULT["kind"] == "loading-raise":
                raise RuntimeError("the mapper's accident")
            # The training process waits for this very image.
            os.kill(os.getppid(), signal.SIGTERM)
        return super().__call__(dataset_dict)


def _accident(kind: str, losses: Any) -> Any:
    if kind == "nan":
        return {**losses, "loss_cls": losses["loss_cls"] * float("nan")}
    if kind == "raise":
        raise RuntimeError("the accident")
    if kind == "out-of-memory":
        raise torch.OutOfMemoryError("CUDA out of memory, says the accident")
    if kind == "disk-full":
        # Where the next checkpoint is written, as if the disk filled up meanwhile.
        Path(os.environ["DETECTRON_OUTPUT"], f".{FAULT['file']}.unfinished").symlink_to("/dev/full")
        return losses
    if kind == "kill-data-worker":
        os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)
        return losses
    number = {"sigkill": signal.SIGKILL, "sigterm": signal.SIGTERM, "sigstop": signal.SIGSTOP}[kind]
    os.kill(os.getpid(), number)
    return losses
