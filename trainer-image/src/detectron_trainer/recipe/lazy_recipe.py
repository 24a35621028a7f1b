"""What a lazy config describes, instantiated as Detectron2's ``lazyconfig_train_net.py`` does it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

import torch
import yaml
from detectron2.config import CfgNode, instantiate
from detectron2.data.samplers import TrainingSampler
from detectron2.evaluation import DatasetEvaluator, DatasetEvaluators
from detectron2.solver import LRMultiplier
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Sampler

from detectron_trainer.failures import InvalidConfigError, Problem
from detectron_trainer.recipe.evaluators import evaluator_of
from detectron_trainer.recipe.recipe import Batches, Distribution, Mapper, Record
from detectron_trainer.recipe.sampler import ContinuedSampler

T = TypeVar("T")


@dataclass(frozen=True)
class LazyRecipe:
    """Builds from `tree`, which has the keys of Detectron2's own lazy configs and is never changed."""

    tree: DictConfig

    def dump(self, cfg: CfgNode) -> str:
        return yaml.safe_dump(_plain(OmegaConf.to_container(self.tree, resolve=False)), sort_keys=False)

    def distribution(self) -> Distribution:
        ddp = self.tree.train.get("ddp", {})
        return Distribution(
            find_unused_parameters=bool(ddp.get("find_unused_parameters", False)),
            fp16_compression=bool(ddp.get("fp16_compression", False)),
        )

    def model(self, cfg: CfgNode) -> nn.Module:
        model = _made(self._copy().model, nn.Module, "model")
        return model.to(torch.device(cfg.MODEL.DEVICE))

    def optimizer(self, cfg: CfgNode, model: nn.Module) -> Optimizer:
        node = self._copy().optimizer
        node.params.model = model
        optimizer = _made(node, Optimizer, "optimizer")
        rate = node.get("lr")
        if rate:
            # What the run has lowered it to, in all groups alike.
            for group in optimizer.param_groups:
                group["lr"] *= cfg.SOLVER.BASE_LR / rate
        return optimizer

    def schedule(self, cfg: CfgNode, optimizer: Optimizer) -> LRScheduler:
        multiplier = instantiate(self._copy().lr_multiplier)
        schedule: LRScheduler = LRMultiplier(optimizer, multiplier, cfg.SOLVER.MAX_ITER)
        return schedule

    def training_records(self, cfg: CfgNode) -> Sequence[Record]:
        return _made(self._copy().dataloader.train.dataset, list, "dataloader.train.dataset")

    def sampler(self, cfg: CfgNode, records: Sequence[Record], seed: int, skipped: int) -> Sampler[int]:
        node = self._copy().dataloader.train.get("sampler")
        if node is None:
            return ContinuedSampler(TrainingSampler(len(records), seed=seed), skipped)
        if "seed" not in inspect.signature(node["_target_"]).parameters:
            raise _unfit(
                "dataloader.train.sampler", "takes no seed, so that its order cannot be gone on with"
            )
        node.seed = seed
        return ContinuedSampler(_made(node, Sampler, "dataloader.train.sampler"), skipped)

    def training_mapper(self, cfg: CfgNode) -> Mapper:
        return _made(
            self._copy().dataloader.train.mapper,
            Callable,  # type: ignore[arg-type]
            "dataloader.train.mapper",
        )

    def test_batches(self, cfg: CfgNode, name: str) -> Batches:
        node = self._copy().dataloader.test
        node.dataset.names = name
        batches: Batches = instantiate(node)
        return batches

    def loss_batches(self, cfg: CfgNode, name: str) -> Batches:
        loader = self._copy().dataloader
        node, mapper = loader.test, loader.train.mapper
        mapper.augmentations = copy.deepcopy(node.mapper.augmentations)
        node.mapper = mapper
        node.dataset.names, node.dataset.filter_empty = name, True
        batches: Batches = instantiate(node)
        return batches

    def evaluator(self, cfg: CfgNode, name: str, folder: Path) -> DatasetEvaluator:
        loader = self._copy().dataloader
        node = loader.get("evaluator")
        if node is None:
            return evaluator_of(cfg, name, folder)
        loader.test.dataset.names = name
        nodes = [node] if isinstance(node, DictConfig) else list(node)
        for one in nodes:
            if "dataset_name" in one:
                one.dataset_name = name
        where = "dataloader.evaluator"
        return DatasetEvaluators([_made(one, DatasetEvaluator, where) for one in nodes])

    def _copy(self) -> DictConfig:
        return copy.deepcopy(self.tree)


def _made(node: DictConfig, kind: type[T], where: str) -> T:
    """What `node` describes.

    Raises:
        InvalidConfigError: it is something else than a `kind`.
    """
    made = instantiate(node)
    if not isinstance(made, kind):
        raise _unfit(where, f"makes a {type(made).__name__}, and a {kind.__name__} is needed")
    return made


def _unfit(where: str, message: str) -> InvalidConfigError:
    return InvalidConfigError([Problem("spec.config", f"{where} {message}")])


def _plain(value: object) -> object:
    """`value` for a text that people read: functions, classes and other objects by their names."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    name = getattr(value, "__qualname__", None)
    return f"{getattr(value, '__module__', '')}.{name}" if name else str(value)
