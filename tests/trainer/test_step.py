"""One training step: whole or in parts, clipped, in lower precision."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
import torch

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip
from detectron2.config import get_cfg
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim.lr_scheduler import ConstantLR

from detectron_trainer.data.batches import Batch
from detectron_trainer.gang.world import World
from detectron_trainer.model.assembly import Training, autocast_dtype
from detectron_trainer.training.step import RankState, Stepper, StepReport

ALONE = cast("World", SimpleNamespace(size=1, rank=0, device=torch.device("cpu")))
BATCH: Batch = [{"x": float(number), "y": 3.0 * number} for number in range(4)]
STATE = RankState(data_time=0.5, stop=False, unreadable=2)


class Line(nn.Module):
    """Fits y = a x + b with two component losses, and remembers the sizes and types it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(1, 1)
        nn.init.constant_(self.a.weight, 1.0)
        nn.init.constant_(self.a.bias, 0.5)
        self.seen: list[tuple[int, torch.dtype]] = []

    def forward(self, batch: list[dict[str, float]]) -> dict[str, Tensor]:
        x, y = (torch.tensor([[image[name]] for image in batch]) for name in ("x", "y"))
        output = self.a(x)
        self.seen.append((len(batch), output.dtype))
        return {"loss_fit": ((output - y) ** 2).mean(), "loss_size": output.abs().mean()}


def stepped(
    accumulation: int = 1, max_gradient_norm: float | None = None, autocast: torch.dtype | None = None
) -> tuple[Line, StepReport]:
    model = Line()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = ConstantLR(optimizer, factor=1.0)
    scaler = GradScaler("cpu", enabled=False)
    stepper = Stepper(
        model,
        Training(model, optimizer, schedule, scaler, autocast),
        ALONE,
        accumulation=accumulation,
        max_gradient_norm=max_gradient_norm,
    )
    return model, stepper.step(BATCH, 0, STATE)


def test_parts_add_up_to_the_whole_batch() -> None:
    whole, report = stepped()
    parted, in_parts = stepped(accumulation=4)
    assert [size for size, _ in whole.seen] == [4]
    assert [size for size, _ in parted.seen] == [1] * 4
    assert torch.allclose(parted.a.weight, whole.a.weight)
    assert torch.allclose(parted.a.bias, whole.a.bias)
    assert in_parts.losses == pytest.approx(report.losses)
    assert in_parts.total_loss == pytest.approx(report.total_loss)
    assert (report.unreadable, report.data_time, report.gradient_norm) == (2, 0.5, None)


def test_gradients_are_clipped_by_their_norm_over_all_parameters() -> None:
    before = Line()
    free, _ = stepped()
    moved = torch.stack([free.a.weight - before.a.weight, (free.a.bias - before.a.bias)[None]]).detach() / 0.1
    clipped, report = stepped(max_gradient_norm=1.0)
    assert report.gradient_norm == pytest.approx(float(moved.norm()))
    step = torch.stack([clipped.a.weight - before.a.weight, (clipped.a.bias - before.a.bias)[None]]).detach()
    assert float(step.norm()) == pytest.approx(0.1, rel=1e-4)
    assert torch.allclose(step / step.norm(), moved / moved.norm(), atol=1e-5)
    _, loose = stepped(max_gradient_norm=1e6)
    assert loose.gradient_norm == pytest.approx(report.gradient_norm)


def test_the_forward_pass_alone_is_of_lower_precision() -> None:
    model, _ = stepped(autocast=torch.bfloat16)
    assert model.seen == [(4, torch.bfloat16)]
    assert model.a.weight.dtype is torch.float32


def test_the_manifest_s_precision_goes_before_the_config_s() -> None:
    cfg = get_cfg()
    assert autocast_dtype(cfg, None) is None
    assert autocast_dtype(cfg, "bfloat16") is torch.bfloat16
    cfg.SOLVER.AMP.ENABLED = True
    assert autocast_dtype(cfg, None) is torch.float16
    assert autocast_dtype(cfg, "float32") is None
