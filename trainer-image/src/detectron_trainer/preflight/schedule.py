"""How long a job trains and at what rate: what it comes to, and what is probably not meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.config import CfgNode

from detectron_trainer.failures import Problem
from detectron_trainer.preflight.data import DatasetReport
from detectron_trainer.preflight.settings import WHERE

_TOLERATED = 2.0
"""Rates within this factor of the linear rule's train much alike."""


def doubt_schedule(cfg: CfgNode, base: CfgNode) -> Iterator[Problem]:
    """What in the solver's settings is probably an oversight, seen from the job's `base` config."""
    solver = cfg.SOLVER
    yield from _doubt_learning_rate(solver, base.SOLVER)
    late = [step for step in solver.STEPS if step >= solver.MAX_ITER]
    if late:
        steps = ", ".join(map(str, late))
        yield Problem(WHERE, f"SOLVER.STEPS {steps} are never reached: SOLVER.MAX_ITER is {solver.MAX_ITER}")
    if solver.WARMUP_ITERS >= solver.MAX_ITER:
        yield Problem(
            WHERE,
            f"SOLVER.WARMUP_ITERS {solver.WARMUP_ITERS} last until SOLVER.MAX_ITER {solver.MAX_ITER}, "
            "so the full learning rate is never reached",
        )


def _doubt_learning_rate(solver: CfgNode, base: CfgNode) -> Iterator[Problem]:
    """A rate far above the linear rule diverges; one far below was forgotten where it is still the base's."""
    if not base.BASE_LR or min(solver.IMS_PER_BATCH, base.IMS_PER_BATCH) < 1:
        return
    batch, base_batch = solver.IMS_PER_BATCH, base.IMS_PER_BATCH
    ruled = base.BASE_LR * batch / base_batch
    ratio = solver.BASE_LR / ruled
    if ratio > _TOLERATED or (ratio < 1 / _TOLERATED and solver.BASE_LR == base.BASE_LR):
        yield Problem(
            WHERE,
            f"SOLVER.BASE_LR {solver.BASE_LR:g} at SOLVER.IMS_PER_BATCH {batch}: by the linear rule "
            f"{base.BASE_LR:g} at {base_batch}, as spec.config.base has it, makes {ruled:.2g}",
        )


def count_training_images(cfg: CfgNode, reports: Sequence[DatasetReport]) -> int | None:
    """Images that are trained on; None where a dataset is a plugin's, Detectron2's, or could not be read."""
    trained = {report.dataset.name: report.survey for report in reports}
    if not all(name in trained for name in cfg.DATASETS.TRAIN):
        return None
    total = 0
    for name in cfg.DATASETS.TRAIN:
        if cfg.MODEL.KEYPOINT_ON and cfg.MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE > 0:
            total += trained[name].keypoint_images
        elif cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
            total += trained[name].annotated_images
        else:
            total += trained[name].images
    return total
