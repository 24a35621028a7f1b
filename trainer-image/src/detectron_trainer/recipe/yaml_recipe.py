"""What a yaml config describes, as Detectron2's own builders make it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.config import CfgNode
from detectron2.data import DatasetMapper, build_detection_test_loader, get_detection_dataset_dicts
from detectron2.data.detection_utils import build_augmentation
from detectron2.evaluation import DatasetEvaluator
from detectron2.modeling import build_model
from detectron2.solver import build_lr_scheduler, build_optimizer
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Sampler

from detectron_trainer.job import user_code
from detectron_trainer.recipe.evaluators import evaluator_of
from detectron_trainer.recipe.recipe import Batches, Distribution, Mapper, Record
from detectron_trainer.recipe.sampler import training_sampler


@dataclass(frozen=True)
class YamlRecipe:
    """`mapper` is the manifest's, which reads the images in place of Detectron2's own."""

    mapper: str | None = None

    def dump(self, cfg: CfgNode) -> str:
        return str(cfg.dump())

    def distribution(self) -> Distribution:
        return Distribution()

    def model(self, cfg: CfgNode) -> nn.Module:
        return cast(nn.Module, build_model(cfg))

    def optimizer(self, cfg: CfgNode, model: nn.Module) -> Optimizer:
        return cast(Optimizer, build_optimizer(cfg, model))

    def schedule(self, cfg: CfgNode, optimizer: Optimizer) -> LRScheduler:
        return cast(LRScheduler, build_lr_scheduler(cfg, optimizer))

    def training_records(self, cfg: CfgNode) -> Sequence[Record]:
        records: Sequence[Record] = get_detection_dataset_dicts(
            cfg.DATASETS.TRAIN,
            filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS,
            min_keypoints=cfg.MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE if cfg.MODEL.KEYPOINT_ON else 0,
            proposal_files=cfg.DATASETS.PROPOSAL_FILES_TRAIN if cfg.MODEL.LOAD_PROPOSALS else None,
        )
        return records

    def sampler(self, cfg: CfgNode, records: Sequence[Record], seed: int, skipped: int) -> Sampler[int]:
        return training_sampler(cfg, records, seed, skipped)

    def training_mapper(self, cfg: CfgNode) -> Mapper:
        return self._own_mapper(cfg, is_train=True) or DatasetMapper(cfg, is_train=True)

    def test_batches(self, cfg: CfgNode, name: str) -> Batches:
        mapper = self._own_mapper(cfg, is_train=False)
        options = {} if mapper is None else {"mapper": mapper}
        return cast(Batches, build_detection_test_loader(cfg, name, **options))

    def loss_batches(self, cfg: CfgNode, name: str) -> Batches:
        mapper = self._own_mapper(cfg, is_train=True)
        if mapper is None:
            options = DatasetMapper.from_config(cfg, is_train=True)
            mapper = DatasetMapper(**{**options, "augmentations": build_augmentation(cfg, is_train=False)})
        records = get_detection_dataset_dicts(name, filter_empty=True)
        workers = cfg.DATALOADER.NUM_WORKERS
        return cast(Batches, build_detection_test_loader(records, mapper=mapper, num_workers=workers))

    def evaluator(self, cfg: CfgNode, name: str, folder: Path) -> DatasetEvaluator:
        return evaluator_of(cfg, name, folder)

    def _own_mapper(self, cfg: CfgNode, *, is_train: bool) -> Mapper | None:
        if self.mapper is None:
            return None
        mapper: Mapper = user_code.call(self.mapper, Callable, cfg, is_train)  # type: ignore[arg-type]
        return mapper
