"""Lower precision reaches features, and not where they are taken from."""

from __future__ import annotations

import pytest
import torch

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip
from detectron2.config import get_cfg
from detectron2.layers import ROIAlign
from torch import Tensor, nn

from detectron_trainer.job.manifest import Precision, TrainingOptions
from detectron_trainer.model.assembly import build_model
from detectron_trainer.model.precision import ExactROIAlign, keep_boxes_exact
from detectron_trainer.recipe.yaml_recipe import YamlRecipe

STRIDE = 4
WIDTH = 1344
"""Of the image in pixels."""
BOXES = torch.tensor([[0.0, 1203.3, 10.0, 1227.3, 34.0], [0.0, 701.7, 20.0, 721.7, 50.0]])
"""Of an ordinary object each: its image, then its corners in pixels."""


def pooled(pooler: nn.Module, dtype: torch.dtype) -> Tensor:
    """Features of the boxes, which vary from pixel to pixel."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(1, 16, 64 // STRIDE, WIDTH // STRIDE, generator=generator)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not torch.float32):
        found: Tensor = pooler(features.to(dtype), BOXES)
    return found


def distance(pooler: nn.Module, dtype: torch.dtype) -> float:
    """Of what is pooled from the same in float32, as a part of it."""
    exact = pooled(ROIAlign(7, 1 / STRIDE, 0), torch.float32)
    return float((pooled(pooler, dtype).float() - exact).norm() / exact.norm())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_boxes_keep_their_place(dtype: torch.dtype) -> None:
    pooler = nn.ModuleList([ROIAlign(7, 1 / STRIDE, 0)])
    rounded = distance(pooler[0], dtype)
    keep_boxes_exact(pooler)
    assert pooled(pooler[0], dtype).dtype == dtype
    assert distance(pooler[0], dtype) < 0.005
    assert rounded > (0.1 if dtype is torch.bfloat16 else 0.01)


def test_in_float32_nothing_changes() -> None:
    pooler = ROIAlign(7, 1 / STRIDE, 0)
    keep_boxes_exact(pooler)
    assert distance(pooler, torch.float32) == 0


@pytest.mark.parametrize(("precision", "kind"), [(None, ROIAlign), ("bfloat16", ExactROIAlign)])
def test_a_job_s_precision_decides(precision: Precision | None, kind: type[ROIAlign]) -> None:
    cfg = get_cfg()
    cfg.MODEL.DEVICE = "cpu"
    model = build_model(YamlRecipe(), cfg, TrainingOptions(precision=precision))
    assert {type(module) for module in model.modules() if isinstance(module, ROIAlign)} == {kind}
