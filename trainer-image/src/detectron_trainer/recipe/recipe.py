"""What our loop takes from a config, whichever of Detectron2's two kinds that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Sampler

Record = Mapping[str, object]
"""What a dataset knows of one image, as Detectron2's catalog holds it."""

Mapper = Callable[[Record], object]
"""Makes of a dataset's record of one image, which it must not change, what the model takes."""


class Batches(Sized, Protocol):
    """The batches of an evaluation on this rank."""

    def __iter__(self) -> Iterator[object]: ...


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """What a config says about `DistributedDataParallel`."""

    find_unused_parameters: bool = False
    fp16_compression: bool = False


class Recipe(Protocol):
    """Builds what a config describes.

    `cfg` holds the settings of the run in the words of yaml configs (schedule, batch, periods, names of
    datasets), as our loop reads them; it may change between two calls, by a rollback's lower rate for one.
    """

    def dump(self, cfg: CfgNode) -> str:
        """The whole config as text."""

    def distribution(self) -> Distribution: ...

    def model(self, cfg: CfgNode) -> nn.Module:
        """The model on its device, with random weights."""

    def optimizer(self, cfg: CfgNode, model: nn.Module) -> Optimizer: ...

    def schedule(self, cfg: CfgNode, optimizer: Optimizer) -> LRScheduler: ...

    def training_records(self, cfg: CfgNode) -> Sequence[Record]: ...

    def sampler(self, cfg: CfgNode, records: Sequence[Record], seed: int, skipped: int) -> Sampler[int]:
        """An endless order of indices that follows from `seed`, this rank's, without the first `skipped`."""

    def training_mapper(self, cfg: CfgNode) -> Mapper: ...

    def test_batches(self, cfg: CfgNode, name: str) -> Batches: ...

    def loss_batches(self, cfg: CfgNode, name: str) -> Batches:
        """Batches of `name` as `test_batches` sees them, with what a model in training needs."""

    def evaluator(self, cfg: CfgNode, name: str, folder: Path) -> DatasetEvaluator:
        """What judges the dataset `name`; predictions go to `folder`."""
