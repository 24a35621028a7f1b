"""Which of Detectron2's evaluators judge a dataset: those for the ``evaluator_type`` of its metadata."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import (
    COCOEvaluator,
    COCOPanopticEvaluator,
    DatasetEvaluator,
    DatasetEvaluators,
    SemSegEvaluator,
)


def _coco(cfg: CfgNode, name: str, folder: str) -> DatasetEvaluator:
    return COCOEvaluator(name, output_dir=folder, kpt_oks_sigmas=cfg.TEST.KEYPOINT_OKS_SIGMAS)


def _semantic(_cfg: CfgNode, name: str, folder: str) -> DatasetEvaluator:
    return SemSegEvaluator(name, output_dir=folder)


def _panoptic(_cfg: CfgNode, name: str, folder: str) -> DatasetEvaluator:
    return COCOPanopticEvaluator(name, folder)


EVALUATORS: Mapping[str, Sequence[Callable[[CfgNode, str, str], DatasetEvaluator]]] = {
    "coco": [_coco],
    "sem_seg": [_semantic],
    # Panoptic quality needs a package that no index has; boxes, masks and semantic classes do not.
    "coco_panoptic_seg": [
        _coco,
        _semantic,
        *([_panoptic] if importlib.util.find_spec("panopticapi") else []),
    ],
}


def evaluator_type(name: str) -> str:
    """What the dataset's metadata asks for; COCO's where it asks for nothing."""
    return str(MetadataCatalog.get(name).get("evaluator_type", "coco"))


def evaluator_of(cfg: CfgNode, name: str, folder: Path) -> DatasetEvaluator:
    """What judges the dataset `name`; predictions go to `folder`."""
    return DatasetEvaluators([build(cfg, name, str(folder)) for build in EVALUATORS[evaluator_type(name)]])
