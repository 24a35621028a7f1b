"""Where training goes on: decided by rank 0, equal on all ranks.

Only the first pod mounts the output volume, so rank 0 reads the checkpoint and sends it to the others.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

import torch
from detectron2.config import CfgNode
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from detectron_trainer.checkpointing.checkpoint import TRAINING_STATE, AtomicCheckpointer, newest_first, read
from detectron_trainer.checkpointing.lineage import Settings
from detectron_trainer.checkpointing.randomness import RandomState
from detectron_trainer.failures import CheckpointCorruptError
from detectron_trainer.gang.world import World
from detectron_trainer.model.assembly import Training

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ResumePoint:
    """Where a run goes on; by default at the start.

    `completed` counts iterations, `content` is the checkpoint's; of that `seed` gives the images' order,
    `images` counts those drawn, `rollbacks` is as in `Lineage`, `settings` is what the run was told,
    `random_states` are the generators' by rank and `recent_scalars` is what smoothing needs. `path` is its
    file, known on rank 0.
    """

    completed: int = 0
    path: Path | None = None
    content: dict[str, Any] | None = None
    seed: int | None = None
    images: int | None = None
    rollbacks: int = 0
    settings: Settings = field(default_factory=dict)
    random_states: Sequence[RandomState] = ()
    recent_scalars: Mapping[str, Any] = field(default_factory=dict)

    def on_the_schedule_of(self, cfg: CfgNode) -> ResumePoint:
        """This point in iterations of `cfg`.

        SOLVER.REFERENCE_WORLD_SIZE asks for Detectron2's linear rule: with other processes the batch, the
        learning rate and the length of the schedule change, and images tell where on it the run has got to.
        Without it an iteration stays one, whatever the batch is now.
        """
        if self.images is None or cfg.SOLVER.REFERENCE_WORLD_SIZE == 0:
            return self
        return replace(self, completed=self.images // cfg.SOLVER.IMS_PER_BATCH)


def newest_readable(folder: Path, parts: Set[str] = TRAINING_STATE) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint of `folder` that is whole and holds `parts`, with its content; None without any.

    Raises:
        CheckpointCorruptError: there are some, and not one can be read.
    """
    damaged = []
    for path in newest_first(folder):
        try:
            content = read(path, parts)
        except CheckpointCorruptError as error:
            _logger.warning("%s; trying the one before it", error)
            damaged.append(str(error))
        else:
            return path, content
    if damaged:
        raise CheckpointCorruptError("; ".join(damaged))
    return None


def newest_on_rank_0(
    world: World, folder: Path, parts: Set[str] = TRAINING_STATE
) -> tuple[Path, dict[str, Any]] | None:
    """Rank 0's `newest_readable`, and None on the other ranks; all ranks call it.

    Raises:
        CheckpointCorruptError: see `newest_readable`; on every rank.
    """
    found: tuple[Path, dict[str, Any]] | None = None
    failure: CheckpointCorruptError | None = None
    if world.is_main:
        try:
            found = newest_readable(folder, parts)
        except CheckpointCorruptError as error:
            failure = error
    failure = world.broadcast(failure)
    if failure is not None:
        raise failure
    return found


def shared_resume_point(world: World, folder: Path) -> ResumePoint:
    """Where all ranks go on: rank 0 reads its `folder` and sends the others what it found.

    Raises:
        CheckpointCorruptError: see `newest_readable`; on every rank.
    """
    found = newest_on_rank_0(world, folder)
    if not world.broadcast(found is not None):
        return ResumePoint()
    if world.size > 1:
        content = world.broadcast_bytes(found[0].read_bytes() if found else None)
        if found is None:
            return _resume_point(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    assert found is not None
    _logger.info("resuming from %s", found[0])
    return replace(_resume_point(found[1]), path=found[0])


def _resume_point(content: dict[str, Any]) -> ResumePoint:
    """The parts of a checkpoint; Detectron2's own trainers leave all but weights and iteration out."""
    return ResumePoint(
        completed=content["iteration"] + 1,
        content=content,
        seed=content.get("seed"),
        images=content.get("images"),
        rollbacks=content.get("rollbacks", 0),
        settings=content.get("settings", {}),
        random_states=content.get("random_states", []),
        recent_scalars=content.get("recent_scalars", {}),
    )


def restore(
    training: Training, checkpointer: AtomicCheckpointer, checkpoint: dict[str, Any], completed: int
) -> None:
    """Load the checkpoint, but keep the optimizer's settings from the config, which may have been edited.

    `completed` is where on the config's schedule the run has got to.
    """
    settings = _settings(training.optimizer)
    base_lrs = list(training.scheduler.base_lrs)
    checkpointer.restore(checkpoint)
    training.scheduler.last_epoch = completed
    _apply_settings(training.optimizer, training.scheduler, settings, base_lrs)


def assert_equal_ranks(world: World, model: nn.Module, iteration: int) -> None:
    """Raises CheckpointCorruptError unless all ranks hold equal weights and begin at the same iteration."""
    states = world.gather((iteration, weight_digest(model)))
    strangers = [rank for rank, state in enumerate(states) if state != states[0]]
    if strangers:
        raise CheckpointCorruptError(f"ranks {strangers} start from other weights or iterations than rank 0")


def weight_digest(model: nn.Module) -> str:
    """A hash of all parameters and persistent buffers."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _settings(optimizer: Optimizer) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups
    ]


def _apply_settings(
    optimizer: Optimizer, scheduler: LRScheduler, settings: list[dict[str, Any]], base_lrs: list[Any]
) -> None:
    # Both the optimizer's and the schedule's state hold learning rates, and would undo an edit of the config.
    for group, configured in zip(optimizer.param_groups, settings, strict=True):
        group.update(configured)
    scheduler.base_lrs = base_lrs
    for group, rate in zip(optimizer.param_groups, scheduler.get_lr(), strict=True):
        group["lr"] = rate
