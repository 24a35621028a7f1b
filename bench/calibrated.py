"""First weights for a model whose batch norms are frozen: random, with the statistics that they bring about.

Downloaded weights bring such statistics along. Without them activations grow from layer to layer, and no loss
is finite.
"""

from __future__ import annotations

from pathlib import Path

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

import torch
from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling import build_model
from torch import Tensor, nn

from bench.inspected import inspected
from detectron_trainer.job.manifest import Job

CONTRAST = 60.0
"""The standard deviation of the noise, about that of photographs."""


def write_weights(job: Job, path: Path) -> None:
    """Write the model of `job`, adapted to noise, as a file that `spec.weights` takes."""
    cfg = inspected(job, path.parent).cfg
    torch.manual_seed(0)
    model = build_model(cfg)
    hooks = [
        module.register_forward_pre_hook(_adapt)
        for module in model.modules()
        if isinstance(module, FrozenBatchNorm2d)
    ]
    with torch.no_grad():
        model.backbone(CONTRAST * torch.randn(2, 3, 128, 128, device=model.device))
    for hook in hooks:
        hook.remove()
    torch.save({"model": model.state_dict()}, path)


def _adapt(norm: nn.Module, inputs: tuple[Tensor]) -> None:
    assert isinstance(norm, FrozenBatchNorm2d)
    norm.running_mean.copy_(inputs[0].mean((0, 2, 3)))
    norm.running_var.copy_(inputs[0].var((0, 2, 3)))
