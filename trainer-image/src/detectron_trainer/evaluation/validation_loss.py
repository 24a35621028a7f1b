"""The losses on the test datasets: what training minimises, on images that it does not see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

import torch
from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from detectron_trainer.evaluation.evaluation import InterruptibleBatches
from detectron_trainer.gang.stop import StopRequest
from detectron_trainer.gang.world import World
from detectron_trainer.recipe.recipe import Batches, Recipe

PREFIX = "validation/"


def validation_losses(
    recipe: Recipe,
    cfg: CfgNode,
    model: nn.Module,
    *,
    world: World,
    stop: StopRequest,
    got_on: Callable[[], None],
) -> dict[str, float]:
    """Mean losses over the annotated images of each test dataset, on every rank; all ranks call it.

    Named ``validation/total_loss`` and so on, with the dataset's name between where there are several. The
    model (not distributed) and its statistics stay as they are; random numbers are drawn.

    Raises:
        EvaluationStopped: on all ranks, if any was asked to stop before it was through.
    """
    losses: dict[str, float] = {}
    for name in cfg.DATASETS.TEST:
        batches = InterruptibleBatches(recipe.loss_batches(cfg, name), world, stop, got_on)
        prefix = PREFIX if len(cfg.DATASETS.TEST) == 1 else f"{PREFIX}{name}/"
        means = _mean(world.gather(_sums(model, batches)))
        losses |= {f"{prefix}{loss}": value for loss, value in means.items()}
    return losses


def _sums(model: nn.Module, batches: Batches) -> tuple[dict[str, float], int]:
    """The sum of each loss over this rank's batches, which are of one image each, and their number."""
    sums: dict[str, Tensor] = {}
    # The same proposals are drawn at each evaluation, so that their losses compare.
    torch.manual_seed(0)
    # Models tell the storage of training what they see; that is not for the run's.
    with _computing_losses(model), torch.no_grad(), EventStorage():
        for batch in batches:
            for name, loss in model(batch).items():
                sums[name] = sums.get(name, torch.zeros_like(loss)) + loss
    return {name: float(total) for name, total in sums.items()}, len(batches)


def _mean(parts: list[tuple[dict[str, float], int]]) -> dict[str, float]:
    count = sum(images for _, images in parts)
    names = dict.fromkeys(name for sums, _ in parts for name in sums)
    means = {name: sum(sums.get(name, 0.0) for sums, _ in parts) / count for name in names}
    return {**means, "total_loss": sum(means.values())} if means else {}


@contextmanager
def _computing_losses(model: nn.Module) -> Iterator[None]:
    """`model` in training mode, but for what learns or draws by itself: batch norm and dropout."""
    modes: Mapping[nn.Module, bool] = {module: module.training for module in model.modules()}
    model.train()
    for module in modes:
        if isinstance(module, _BatchNorm | _DropoutNd):
            module.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
