"""One round of evaluation: the metrics of all test datasets and, where asked for, the losses on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.config import CfgNode
from torch import nn

from detectron_trainer.evaluation.evaluation import Results, evaluate, scalars
from detectron_trainer.evaluation.validation_loss import validation_losses
from detectron_trainer.gang.stop import StopRequest
from detectron_trainer.gang.world import World
from detectron_trainer.recipe.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class EvaluationRound:
    """`loss` asks for the losses too; `got_on` is told of batches that are through."""

    recipe: Recipe
    cfg: CfgNode
    world: World
    stop: StopRequest
    got_on: Callable[[], None]
    loss: bool

    def run(self, model: nn.Module, *, final: bool) -> tuple[Results, Mapping[str, float]]:
        """The results of `model` and, by name, everything that is to be put as a scalar; all ranks call it.

        Raises:
            EvaluationStopped: see `evaluate`.
        """
        recipe, cfg, world, stop, got_on = self.recipe, self.cfg, self.world, self.stop, self.got_on
        results = evaluate(recipe, cfg, model, final, world=world, stop=stop, got_on=got_on)
        if not self.loss:
            return results, scalars(results)
        losses = validation_losses(recipe, cfg, model, world=world, stop=stop, got_on=got_on)
        return results, {**scalars(results), **losses}
