"""Training by Detectron2's trainers: hooks around a loop that is not yours to write.

`GreetingTrainer` is a `DefaultTrainer`, `OwnTrainer` a `SimpleTrainer` put together by hand. Both say hello.
"""

from __future__ import annotations

import logging
from pathlib import Path

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from detectron2.data import build_detection_train_loader
from detectron2.engine import (
    DefaultTrainer,
    HookBase,
    SimpleTrainer,
    create_ddp_model,
    default_writers,
    hooks,
)
from detectron2.evaluation import COCOEvaluator, DatasetEvaluator
from detectron2.modeling import build_model
from detectron2.solver import build_lr_scheduler, build_optimizer
from detectron2.utils import comm

_logger = logging.getLogger(__name__)


class Hello(HookBase):  # type: ignore[misc]  # detectron2 ships no types
    """Says hello after every `period` iterations."""

    def __init__(self, period: int) -> None:
        self._period = period

    def after_step(self) -> None:
        completed = self.trainer.iter + 1
        if completed % self._period == 0 and comm.is_main_process():
            _logger.info("Hello after %d iterations!", completed)


class GreetingTrainer(DefaultTrainer):  # type: ignore[misc]
    """`DefaultTrainer` that evaluates by COCO's metrics and says hello."""

    def build_hooks(self) -> list[HookBase]:
        return [*super().build_hooks(), Hello(period=2)]

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        return COCOEvaluator(dataset_name, output_dir=str(Path(cfg.OUTPUT_DIR, "inference", dataset_name)))


class OwnTrainer(SimpleTrainer):  # type: ignore[misc]
    """A trainer from the parts: model, data, optimizer and only the hooks that are named here."""

    def __init__(self, cfg: CfgNode) -> None:
        model = build_model(cfg)
        optimizer = build_optimizer(cfg, model)
        distributed = create_ddp_model(model, broadcast_buffers=False)
        super().__init__(distributed, build_detection_train_loader(cfg), optimizer)
        self._weights = cfg.MODEL.WEIGHTS
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.scheduler = build_lr_scheduler(cfg, optimizer)
        self.checkpointer = DetectionCheckpointer(
            model, cfg.OUTPUT_DIR, optimizer=optimizer, scheduler=self.scheduler
        )
        self.register_hooks([hooks.IterationTimer(), hooks.LRScheduler(optimizer, self.scheduler), Hello(2)])
        if comm.is_main_process():
            saving = hooks.PeriodicCheckpointer(self.checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD)
            writing = hooks.PeriodicWriter(default_writers(cfg.OUTPUT_DIR, self.max_iter))
            self.register_hooks([saving, writing])

    def resume_or_load(self, resume: bool) -> None:
        """Load the last checkpoint and go on after it, or MODEL.WEIGHTS."""
        found = self.checkpointer.resume_or_load(self._weights, resume=resume)
        self.start_iter = found.get("iteration", -1) + 1
