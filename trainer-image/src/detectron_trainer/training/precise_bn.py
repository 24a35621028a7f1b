"""Precise batch norm: statistics of the weights as they are, in place of running averages over older ones."""

from __future__ import annotations

from dataclasses import replace

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage
from fvcore.nn.precise_bn import get_bn_modules, update_bn_stats
from torch import nn

from detectron_trainer.checkpointing.lineage import Lineage
from detectron_trainer.checkpointing.randomness import kept_random_state
from detectron_trainer.data.batches import training_batches
from detectron_trainer.data.readable_images import UnreadableImages
from detectron_trainer.gang.world import World
from detectron_trainer.recipe.recipe import Recipe


class PreciseBN:
    """Counts the statistics anew over TEST.PRECISE_BN.NUM_ITER batches, this rank's next ones of `lineage`.

    Training itself is not disturbed: it draws the same images and random numbers after it.
    """

    def __init__(self, recipe: Recipe, cfg: CfgNode, world: World, lineage: Lineage) -> None:
        self._recipe = recipe
        self._cfg = cfg.clone()
        self._cfg.defrost()
        self._cfg.DATALOADER.NUM_WORKERS = 0
        self._world = world
        self._lineage = lineage

    def is_due(self, completed: int) -> bool:
        """Whether an evaluation by the schedule follows, or the end."""
        period, max_iter = self._cfg.TEST.EVAL_PERIOD, self._cfg.SOLVER.MAX_ITER
        return bool(completed == max_iter or (period > 0 and completed % period == 0))

    def update(self, model: nn.Module, completed: int) -> None:
        """Replace the running statistics of `model` (not distributed, in training mode)."""
        if not get_bn_modules(model):
            return
        here = replace(self._lineage, start=completed, images_before=self._lineage.images_after(completed))
        with kept_random_state(), EventStorage():
            batches = training_batches(self._recipe, self._cfg, self._world, here, UnreadableImages())
            update_bn_stats(model, batches, self._cfg.TEST.PRECISE_BN.NUM_ITER)
