"""The same model computed faster: equal results and gradients, and checkpoints that fit either way."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from torch import Tensor, nn

from detectron_trainer.model.levers import (
    FoldedConv2d,
    compile_backbone,
    fold_frozen_batch_norm,
    missing_compiler,
)


class Detector(nn.Module):
    """Two convolutions with frozen batch norms, one with none, and a head that is no backbone."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.backbone = nn.Sequential(
            Conv2d(3, 8, 1, stride=2, bias=False, norm=norm(8), activation=nn.functional.relu),
            Conv2d(8, 8, 1, bias=True, norm=norm(8)),
            Conv2d(8, 4, 3),
        )
        self.head = nn.Conv2d(4, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.head(self.backbone(images))
        return result


def norm(channels: int) -> FrozenBatchNorm2d:
    frozen = FrozenBatchNorm2d(channels)
    for buffer in (frozen.weight, frozen.bias, frozen.running_mean, frozen.running_var):
        buffer.copy_(torch.rand(channels) + 0.5)
    return frozen


def outcome(model: nn.Module, size: int = 33) -> tuple[Tensor, dict[str, Tensor]]:
    """What the model computes, and the gradients of its parameters."""
    model.zero_grad()
    output = model(torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(size)))
    output.square().sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return output.detach(), gradients


def assert_equal_outcomes(ours: nn.Module, plain: nn.Module, size: int = 33) -> None:
    (output, gradients), (expected, expected_gradients) = outcome(ours, size), outcome(plain, size)
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-3, atol=1e-3)


def test_a_folded_norm_changes_neither_results_nor_gradients() -> None:
    folded, plain = Detector(), Detector()
    assert fold_frozen_batch_norm(folded) == 2
    assert [type(module) for module in folded.backbone] == [FoldedConv2d, FoldedConv2d, Conv2d]
    assert_equal_outcomes(folded, plain)


def test_a_frozen_convolution_stays_frozen() -> None:
    folded, plain = Detector(), Detector()
    for model in (folded, plain):
        model.backbone[0].requires_grad_(False)
    fold_frozen_batch_norm(folded)
    assert "backbone.0.weight" not in outcome(folded)[1]
    assert_equal_outcomes(folded, plain)


def test_folding_spares_the_norm_s_passes_over_the_image() -> None:
    """What is multiplied is no larger than the weights."""

    def largest(model: nn.Module) -> int:
        with torch.profiler.profile(record_shapes=True, acc_events=True) as profiled:
            model(torch.ones(1, 3, 65, 65, requires_grad=True))
        products = [event.input_shapes for event in profiled.events() or () if event.name == "aten::mul"]
        sizes: list[int] = [math.prod(shape) for shapes in products for shape in shapes if shape]
        return max(sizes)

    plain, folded = Detector(), Detector()
    fold_frozen_batch_norm(folded)
    assert largest(plain) == 8 * 33 * 33
    assert largest(folded) == 8 * 8


def test_checkpoints_fit_with_and_without_folding(tmp_path: Path) -> None:
    folded, plain = Detector(), Detector()
    fold_frozen_batch_norm(folded)
    with torch.no_grad():
        next(plain.backbone.parameters()).add_(1.0)
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    folded.load_state_dict(torch.load(tmp_path / "plain.pth"), strict=True)
    assert_equal_outcomes(folded, plain)
    assert list(folded.state_dict()) == list(plain.state_dict())


# PyTorch looks at the gradients of all that it is given, and warns of it.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_compiled_backbone_computes_the_same_under_the_same_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    compiled, plain = Detector(), Detector()
    fold_frozen_batch_norm(compiled)
    assert compile_backbone(compiled)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    assert_equal_outcomes(compiled, plain)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert not compile_backbone(nn.Linear(1, 1))


def test_what_a_compiled_model_needs(tmp_path: Path) -> None:
    nothing = {"PATH": str(tmp_path)}
    assert missing_compiler("cpu", nothing) == "a C++ compiler (g++, or what the variable CXX names)"
    assert missing_compiler("cuda", nothing) == "a C compiler (gcc, or what the variable CC names)"
    for name in ("clang", "my-c++"):
        (tmp_path / name).touch(mode=0o755)
    assert missing_compiler("cpu", {**nothing, "CXX": "my-c++"}) is None
    assert missing_compiler("cuda", nothing) is None
    assert missing_compiler("cuda", {**nothing, "CC": "icx"}) is not None


@pytest.fixture(autouse=True)
def _without_what_was_compiled_before() -> None:
    torch._dynamo.reset()
