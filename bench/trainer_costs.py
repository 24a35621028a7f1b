"""What training pays for metrics and checkpoints, each measured by itself in this process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

import torch
from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage
from prometheus_client import CollectorRegistry, generate_latest

from bench.inspected import inspected
from detectron_trainer.checkpointing.checkpoint import AtomicCheckpointer
from detectron_trainer.gang.world import World
from detectron_trainer.job.manifest import Job, Metrics, TrainingOptions
from detectron_trainer.model.assembly import Training, build_training
from detectron_trainer.preflight.inspection import Inspection
from detectron_trainer.progress.board import ProgressBoard
from detectron_trainer.progress.document import Progress
from detectron_trainer.progress.parts import Phase
from detectron_trainer.training.loop import put_report
from detectron_trainer.training.reporter import main_reporter
from detectron_trainer.training.step import StepReport

ITERATIONS = 2000
PERIOD = 20
"""Iterations between two writes: the manifest's default."""
SCRAPES_EVERY = 75
"""Iterations of 200 ms between two scrapes: 15 s."""
SAVES = 6
LOSSES = ("loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc")


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What metrics and saves take of training.

    `metrics_seconds` are of CPU time an iteration, with all writers and scrapes; `save_seconds` are of each
    synchronous save, `blocked_seconds` of each in the background until training went on, `bytes` is the
    file's size.
    """

    metrics_seconds: float
    save_seconds: Sequence[float]
    blocked_seconds: Sequence[float]
    bytes: int


def measure(job: Job, folder: Path) -> Costs:
    """All of it for the model of `job`, with files in `folder`."""
    found = inspected(job, folder)
    saved, blocked, size = checkpoint_stall(found, folder / "saves")
    return Costs(
        metrics_seconds=metrics_path(found.cfg, CollectorRegistry()),
        save_seconds=saved,
        blocked_seconds=blocked,
        bytes=size,
    )


def metrics_path(cfg: CfgNode, registry: CollectorRegistry) -> float:
    """Seconds of CPU time an iteration of putting the scalars of our loop and writing them by all writers."""
    board = ProgressBoard(
        Progress(
            phase=Phase.TRAINING, attempt=0, world_size=1, iteration=0, last_updated_time=datetime.now(UTC)
        ),
        lambda: datetime.now(UTC),
    )
    reporter = main_reporter(cfg, board, registry, 0, 0, metrics=Metrics(), config="", trackers=[])
    with closing(reporter):
        return _iterations(reporter.write, registry)


def _iterations(write: Callable[[], None], registry: CollectorRegistry) -> float:
    report = StepReport(dict.fromkeys(LOSSES, 0.5), 2.5, 0.001, False, 0)
    with EventStorage() as storage:
        began = time.process_time()
        for iteration in range(ITERATIONS):
            storage.iter = iteration
            storage.put_scalar("lr", 0.01, smoothing_hint=False)
            put_report(storage, report, 0.2)
            if (iteration + 1) % PERIOD == 0:
                write()
            if iteration % SCRAPES_EVERY == 0:
                generate_latest(registry)
        return (time.process_time() - began) / ITERATIONS


def checkpoint_stall(found: Inspection, folder: Path) -> tuple[list[float], list[float], int]:
    """Seconds that each save takes of the training thread, synchronous and not, and the file's size.

    They alternate; what the thread in the background has left to do is over before the next one.
    """
    folder.mkdir()
    device = torch.device(found.cfg.MODEL.DEVICE)
    world = cast("World", SimpleNamespace(size=1, rank=0, device=device))
    training = build_training(found.recipe, found.cfg, world, TrainingOptions())
    _give_momentum(training)
    checkpointer = AtomicCheckpointer(
        training.model, folder, admit=lambda: None, saved=lambda *_: None, **training.checkpointables()
    )
    synchronous, behind = [], []
    for _ in range(SAVES):
        began = time.perf_counter()
        checkpointer.save("model_0000001", iteration=1)
        synchronous.append(time.perf_counter() - began)
        began = time.perf_counter()
        checkpointer.save_in_background("model_0000001", lambda: None, iteration=1)
        behind.append(time.perf_counter() - began)
        checkpointer.wait()
    checkpointer.close()
    return synchronous, behind, os.path.getsize(folder / "model_0000001.pth")


def _give_momentum(training: Training) -> None:
    for parameter in training.model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    training.optimizer.step()
    training.optimizer.zero_grad()
