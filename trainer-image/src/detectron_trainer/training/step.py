"""One training step on all ranks, and the one small exchange that keeps them together."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from detectron_trainer.data.batches import Batch
from detectron_trainer.failures import NonFiniteLossError
from detectron_trainer.gang.world import World
from detectron_trainer.model.assembly import Training


@dataclass(frozen=True)
class StepReport:
    """Means over all ranks of the losses and the seconds spent waiting for data; whether all shall stop.

    `unreadable` counts the images of all ranks that could not be read since the processes began,
    `gradient_norm` is there where gradients are clipped.
    """

    losses: Mapping[str, float]
    total_loss: float
    data_time: float
    stop: bool
    unreadable: int
    gradient_norm: float | None = None


@dataclass(frozen=True, kw_only=True)
class RankState:
    """What a rank adds to its losses in the exchange, before it is summed up; see `StepReport`."""

    data_time: float
    stop: bool
    unreadable: int


class Stepper:
    """Runs steps of `model`, which is `training.model` distributed over all ranks.

    The exchange is one all-reduce that carries the losses and each rank's state. It begins
    after the forward pass and ends after the backward pass, which hides it. A sum that is not finite says
    that a loss is not finite on some rank. `SimpleTrainer` gathers as often, but pickled and not hidden.

    `accumulation` splits each batch into so many parts, one after the other, whose gradients add up to
    those of the whole; `max_gradient_norm` clips them by their norm over all parameters.
    """

    def __init__(
        self,
        model: nn.Module,
        training: Training,
        world: World,
        *,
        accumulation: int = 1,
        max_gradient_norm: float | None = None,
    ) -> None:
        self._accumulation = accumulation
        self._max_gradient_norm = max_gradient_norm
        self._model = model
        self._training = training
        self._world = world
        self.applying = False
        """Whether the optimizer changes weights just now: after an error in that they are of no iteration."""
        self._turn = threading.Lock()
        self._waiting = False

    def seize(self) -> bool:
        """From another thread: keep for good a step that waits for the other ranks from changing weights.

        Returns whether there is one: then all state is that of the last completed iteration.
        """
        self._turn.acquire()
        if not self._waiting:
            self._turn.release()
        return self._waiting

    def step(self, batch: Batch, iteration: int, state: RankState) -> StepReport:
        """Train on this rank's `batch`; all ranks call it.

        Raises:
            NonFiniteLossError: on all ranks, if a loss is not finite on any; no rank changes its weights.
        """
        with self._waiting_for_others():
            *parts, last = self._parts(batch)
            means: dict[str, Tensor] = {}
            for number, part in enumerate(parts):
                with self._without_reduction():
                    self._backward(self._forward(part, means), first=number == 0)
            total = self._forward(last, means)
            sums, exchange = self._begin_exchange(means, state)
            self._backward(total, first=not parts)
            report = self._end_exchange(means, sums, exchange, iteration)
        norm = self._clip()
        self.applying = True
        self._training.scaler.step(self._training.optimizer)
        self._training.scaler.update()
        if self._training.averaged is not None:
            self._training.averaged.update_parameters(self._training.model)
        self.applying = False
        return replace(report, gradient_norm=norm)

    @contextmanager
    def _waiting_for_others(self) -> Iterator[None]:
        self._waiting = True
        try:
            yield
        finally:
            # Where another thread has seized the step, this one goes no further.
            with self._turn:
                self._waiting = False

    def _parts(self, batch: Batch) -> list[Batch]:
        size = len(batch) // self._accumulation
        return [batch[start : start + size] for start in range(0, len(batch), size)]

    def _without_reduction(self) -> AbstractContextManager[None]:
        """Leaves a part's gradients on their rank: the last part's backward pass reduces the sum of all."""
        model = self._model
        return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()

    def _forward(self, part: Batch, means: dict[str, Tensor]) -> Tensor:
        """The loss that this part adds to the whole batch's mean; adds its components to `means`."""
        dtype = self._training.autocast
        with torch.autocast(self._world.device.type, dtype=dtype, enabled=dtype is not None):
            losses = self._model(part)
        if isinstance(losses, Tensor):
            losses = {"total_loss": losses}
        shares = {name: loss / self._accumulation for name, loss in losses.items()}
        for name, share in shares.items():
            means[name] = means[name] + share.detach() if name in means else share.detach()
        total = sum(shares.values())
        assert isinstance(total, Tensor)
        return total

    def _backward(self, total: Tensor, *, first: bool) -> None:
        if first:
            # Not before the forward pass: the new gradients take the memory of the old ones at once.
            self._training.optimizer.zero_grad()
        torch.autograd.backward(self._training.scaler.scale(total))

    def _clip(self) -> float | None:
        """The norm of all gradients together before they are clipped, where they are to be."""
        if self._max_gradient_norm is None:
            return None
        self._training.scaler.unscale_(self._training.optimizer)
        parameters = [p for group in self._training.optimizer.param_groups for p in group["params"]]
        return float(nn.utils.clip_grad_norm_(parameters, self._max_gradient_norm))

    def _begin_exchange(
        self, losses: Mapping[str, Tensor], state: RankState
    ) -> tuple[Tensor, dist.Work | None]:
        extra = torch.tensor([state.data_time, state.stop, state.unreadable], device=self._world.device)
        sums = torch.cat([torch.stack([loss.detach().float() for loss in losses.values()]), extra])
        return sums, dist.all_reduce(sums, async_op=True) if self._world.size > 1 else None

    def _end_exchange(
        self, losses: Mapping[str, Tensor], sums: Tensor, exchange: dist.Work | None, iteration: int
    ) -> StepReport:
        if exchange is not None:
            exchange.wait()
        *loss_sums, data_time, stops, unreadable = sums.tolist()
        size = self._world.size
        means = {name: value / size for name, value in zip(losses, loss_sums, strict=True)}
        total = sum(means.values())
        if not math.isfinite(total):
            self._raise_non_finite(losses, iteration)
        return StepReport(means, total, data_time / size, stops > 0, round(unreadable))

    def _raise_non_finite(self, losses: Mapping[str, Tensor], iteration: int) -> None:
        mine = {name: float(loss) for name, loss in losses.items() if not math.isfinite(float(loss))}
        by_rank = self._world.gather(mine)
        rank = next((rank for rank, culprits in enumerate(by_rank) if culprits), None)
        named = "; ".join(
            f"rank {rank}: " + ", ".join(f"{name} is {value}" for name, value in culprits.items())
            for rank, culprits in enumerate(by_rank)
            if culprits
        )
        raise NonFiniteLossError(
            f"losses at iteration {iteration} are not finite ({named or 'their sum overflows'}); "
            "lower SOLVER.BASE_LR, warm up longer or look at the data",
            iteration=iteration,
            rank=rank,
        )


def learning_rate(optimizer: Optimizer) -> float:
    """The rate of the group with most parameters, as Detectron2 logs it."""
    largest = max(optimizer.param_groups, key=lambda group: len(group["params"]))
    return float(largest["lr"])
