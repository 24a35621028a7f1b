"""A training loop without a trainer, as Detectron2's tutorial introduces it: every line of it is yours.

It knows nothing of what runs it: only ``main(cfg, resume)`` is called.
"""

from __future__ import annotations

import torch
from detectron2.checkpoint import DetectionCheckpointer, PeriodicCheckpointer
from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader, build_detection_train_loader
from detectron2.engine import create_ddp_model, default_writers
from detectron2.evaluation import COCOEvaluator, inference_on_dataset
from detectron2.modeling import build_model
from detectron2.solver import build_lr_scheduler, build_optimizer
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import nn


def main(cfg: CfgNode, resume: bool) -> None:
    """Train to SOLVER.MAX_ITER, from the last checkpoint where `resume` says that there is one."""
    model = build_model(cfg)
    optimizer = build_optimizer(cfg, model)
    scheduler = build_lr_scheduler(cfg, optimizer)
    checkpointer = DetectionCheckpointer(model, cfg.OUTPUT_DIR, optimizer=optimizer, scheduler=scheduler)
    last = checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=resume).get("iteration", -1)
    distributed = create_ddp_model(model, broadcast_buffers=False)
    distributed.train()

    start, end = last + 1, cfg.SOLVER.MAX_ITER
    periodic = PeriodicCheckpointer(checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD, max_iter=end)
    writers = default_writers(cfg.OUTPUT_DIR, end) if comm.is_main_process() else []
    batches = iter(build_detection_train_loader(cfg))
    with EventStorage(start) as storage:
        for iteration in range(start, end):
            storage.iter = iteration
            losses = distributed(next(batches))
            total = sum(losses.values())
            assert torch.isfinite(total).all(), losses
            optimizer.zero_grad()
            total.backward()
            optimizer.step()

            put_losses(storage, losses)
            storage.put_scalar("lr", optimizer.param_groups[0]["lr"], smoothing_hint=False)
            scheduler.step()

            completed = iteration + 1
            period = cfg.TEST.EVAL_PERIOD
            if completed == end or (period > 0 and completed % period == 0):
                evaluate(cfg, model, storage)
            if completed == end or completed % 20 == 0:
                for writer in writers:
                    writer.write()
            periodic.step(iteration)


def put_losses(storage: EventStorage, losses: dict[str, torch.Tensor]) -> None:
    """The mean losses of all processes, on rank 0."""
    means = {name: loss.item() for name, loss in comm.reduce_dict(losses).items()}
    if comm.is_main_process():
        storage.put_scalars(total_loss=sum(means.values()), **means)


def evaluate(cfg: CfgNode, model: nn.Module, storage: EventStorage) -> None:
    """Average precision on each test dataset; what is put into the storage reaches metrics and status."""
    for name in cfg.DATASETS.TEST:
        evaluator = COCOEvaluator(name, output_dir=cfg.OUTPUT_DIR)
        results = inference_on_dataset(model, build_detection_test_loader(cfg, name), evaluator)
        for task, values in results.items():
            scalars = {f"{task}/{kind}": value for kind, value in values.items()}
            storage.put_scalars(smoothing_hint=False, **scalars)
    comm.synchronize()
