"""The model and what trains it, as Detectron2 builds them from the config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

import torch
import torch.distributed as dist
from detectron2.config import CfgNode
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from detectron_trainer.failures import InvalidConfigError, Problem
from detectron_trainer.gang.world import World
from detectron_trainer.job.manifest import Precision, TrainingOptions
from detectron_trainer.model.levers import compile_backbone, fold_frozen_batch_norm
from detectron_trainer.model.precision import keep_boxes_exact
from detectron_trainer.recipe.recipe import Distribution, Recipe


@dataclass(frozen=True)
class Training:
    """What a checkpoint holds and a step changes.

    `averaged` follows the model's weights. The forward pass runs in `autocast` where that is set; `scaler`
    does nothing unless it is float16.
    """

    model: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler
    scaler: GradScaler
    autocast: torch.dtype | None = None
    averaged: AveragedModel | None = None

    def checkpointables(self) -> Mapping[str, object]:
        scaler = {"scaler": self.scaler} if self.scaler.is_enabled() else {}
        averaged = {"ema": self.averaged} if self.averaged is not None else {}
        return {"optimizer": self.optimizer, "scheduler": self.scheduler, **scaler, **averaged}

    @property
    def evaluated(self) -> nn.Module:
        """The model whose results count: the average where there is one, which the first step begins."""
        if self.averaged is not None and self.averaged.n_averaged > 0:
            return self.averaged.module
        return self.model


def autocast_dtype(cfg: CfgNode, precision: Precision | None) -> torch.dtype | None:
    """What the manifest's `precision` asks for, else SOLVER.AMP.ENABLED for float16; None is float32."""
    if precision is None:
        return torch.float16 if cfg.SOLVER.AMP.ENABLED else None
    return {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]


def build_model(recipe: Recipe, cfg: CfgNode, options: TrainingOptions) -> nn.Module:
    """Build the model, in training mode.

    Raises:
        InvalidConfigError: Detectron2 refuses the config; it does so on every rank.
    """
    with _refusals():
        model = recipe.model(cfg)
        model.train()
        if options.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if autocast_dtype(cfg, options.precision) is not None:
            keep_boxes_exact(model)
        _pull_levers(model, options)
        return model


@contextmanager
def _refusals() -> Iterator[None]:
    """Makes problems of the job of what Detectron2's builders raise for a config that does not fit."""
    try:
        yield
    except (KeyError, ValueError, TypeError, AttributeError, AssertionError, NotImplementedError) as error:
        message = f"Detectron2 cannot build the model: {type(error).__name__}: {error}"
        raise InvalidConfigError([Problem("spec.config", message)]) from error


def share_weights(model: nn.Module, world: World) -> None:
    """Give all ranks rank 0's parameters and buffers; all ranks call it."""
    if world.size > 1:
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor.detach(), src=0)


def build_training(recipe: Recipe, cfg: CfgNode, world: World, options: TrainingOptions) -> Training:
    """Build model, optimizer and schedule.

    Raises:
        InvalidConfigError: Detectron2 refuses the config; it does so on every rank.
    """
    model = build_model(recipe, cfg, options)
    with _refusals():
        optimizer = recipe.optimizer(cfg, model)
        scheduler = recipe.schedule(cfg, optimizer)
    autocast = autocast_dtype(cfg, options.precision)
    scaler = GradScaler(world.device.type, enabled=autocast is torch.float16)
    averaged = moving_average(model, options.ema.decay) if options.ema is not None else None
    return Training(model, optimizer, scheduler, scaler, autocast, averaged)


def _pull_levers(model: nn.Module, options: TrainingOptions) -> None:
    """Raises InvalidConfigError where there is nothing in the model that an option could work on."""
    name = type(model).__name__
    if options.fold_frozen_batch_norm and not fold_frozen_batch_norm(model):
        message = f"the {name} of this config has no convolution with a frozen batch norm (FrozenBN)"
        raise InvalidConfigError([Problem("spec.training.foldFrozenBatchNorm", message)])
    if options.compile_backbone and not compile_backbone(model):
        raise InvalidConfigError([Problem("spec.training.compileBackbone", f"a {name} has no backbone")])


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """The exponential moving average of weights and buffers; its first update makes it equal to `model`."""
    average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)


def share_buffers(training: Training, world: World) -> None:
    """Give all ranks rank 0's buffers, such as the running statistics of batch norm; all ranks call it.

    Each rank's follow its own images. Before a save or an evaluation they are made equal, so that what is
    evaluated on all ranks is what rank 0 saves, and a resumed run goes on from where all of them were.
    """
    if world.size > 1:
        averages = training.averaged.buffers() if training.averaged is not None else ()
        for buffer in (*training.model.buffers(), *averages):
            dist.broadcast(buffer, src=0)


def distribute(model: nn.Module, world: World, distribution: Distribution) -> nn.Module:
    """The model for all ranks together, equal to rank 0's from here on; itself where there is one rank."""
    if world.size == 1:
        return model
    devices = [world.device] if world.device.type == "cuda" else None
    # What is not broadcast at each step is not at the beginning either: frozen statistics come with weights.
    for buffer in model.buffers():
        dist.broadcast(buffer, src=0)
    # As Detectron2's create_ddp_model, which in 0.6 does not take CPU models.
    distributed = DistributedDataParallel(
        model,
        device_ids=devices,
        broadcast_buffers=False,
        gradient_as_bucket_view=True,
        find_unused_parameters=distribution.find_unused_parameters,
    )
    if distribution.fp16_compression:
        distributed.register_comm_hook(state=None, hook=fp16_compress_hook)
    return distributed
