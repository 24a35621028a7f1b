"""Ways to compute the same model faster. None of them changes a name or a value in its checkpoints."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.layers import Conv2d, FrozenBatchNorm2d
from torch import Tensor, nn
from torch.nn import functional


class FoldedConv2d(Conv2d):  # type: ignore[misc]  # detectron2 ships no types
    """Detectron2's `Conv2d` whose frozen batch norm is part of the weights that it convolves with.

    What is scaled and shifted is the weights, of this forward pass alone, and no longer each pixel of the
    output. Parameters, buffers and gradients are those of the two layers.
    """

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * scale
        if self.bias is not None:
            shift = shift + self.bias * scale
        weight = self.weight * scale.reshape(-1, 1, 1, 1)
        y = functional.conv2d(x, weight, shift, self.stride, self.padding, self.dilation, self.groups)
        return y if self.activation is None else self.activation(y)


def fold_frozen_batch_norm(model: nn.Module) -> int:
    """Make each convolution with a frozen batch norm a `FoldedConv2d`, in place; returns their number."""
    found = [
        module
        for module in model.modules()
        if type(module) is Conv2d and isinstance(module.norm, FrozenBatchNorm2d)
    ]
    for module in found:
        # Its parameters and buffers stay where they are, under their names.
        module.__class__ = FoldedConv2d
    return len(found)


def compile_backbone(model: nn.Module) -> bool:
    """Let PyTorch compile `model.backbone` for images of any size, at its first call; False without one."""
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, nn.Module):
        return False
    # In place, so that the names of its parameters stay.
    backbone.compile(dynamic=True)
    return True


def missing_compiler(device: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """What a compiled model needs on `device` ("cpu" or "cuda") and this machine does not have, if anything.

    On the CPU PyTorch writes C++; for GPUs it writes Triton, which compiles a small C program.
    """
    if device == "cpu":
        return _missing(environment.get("CXX", "g++"), "a C++ compiler", "CXX", environment)
    if importlib.util.find_spec("triton") is None:
        return "the Python package triton"
    compilers = [environment["CC"]] if environment.get("CC") else ["gcc", "clang"]
    absent = [_missing(name, "a C compiler", "CC", environment) for name in compilers]
    return absent[0] if all(absent) else None


def _missing(command: str, what: str, variable: str, environment: Mapping[str, str]) -> str | None:
    if shutil.which(command, path=environment.get("PATH")) is not None:
        return None
    return f"{what} ({command}, or what the variable {variable} names)"
