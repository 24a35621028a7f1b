"""Training by the user's own function or trainer class, the job's ``spec.trainer``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import cast

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, HookBase, TrainerBase

from detectron_trainer.atomic_file import replaced_atomically
from detectron_trainer.checkpointing.checkpoint import TAG
from detectron_trainer.checkpointing.resume import newest_on_rank_0
from detectron_trainer.failures import LoopLossNotFiniteError, PreemptedError
from detectron_trainer.gang.stop import StopRequest
from detectron_trainer.gang.world import World
from detectron_trainer.job import user_code
from detectron_trainer.metrics.json_file import drop_rows_from
from detectron_trainer.training.life import Life
from detectron_trainer.training.observed_loop import LoopStopped, ObservedLoop
from detectron_trainer.training.reporter import Reporter, observing_reporter, silent_reporter

SAVED_BY_ANY_LOOP = frozenset({"model", "iteration"})
"""What a checkpoint of any of Detectron2's loops holds."""

_logger = logging.getLogger(__name__)


class CompletedSteps(HookBase):  # type: ignore[misc]  # detectron2 ships no types
    """Tells of a completed iteration while the trainer still counts it; registered after all other hooks."""

    def __init__(self, loop: ObservedLoop) -> None:
        self._loop = loop

    def after_step(self) -> None:
        self._loop.complete(self.trainer.storage)


class OwnTraining:
    """A life of a job with a loop of its own."""

    def __init__(self, life: Life) -> None:
        self._life = life

    def train(self, stop: StopRequest) -> None:
        """Call the user's function or class; all ranks call it.

        Raises:
            TrainingError: see `detectron_trainer.failures`.
        """
        world, max_iter = self._life.world, self._life.cfg.SOLVER.MAX_ITER
        if world.is_main:
            self._life.open_output()
        completed = place_checkpoint(world, self._life.pod.output)
        cfg = self._with_local_weights() if completed == 0 else self._life.cfg
        self._life.prepare(cfg, earlier_seed=None)
        self._life.board.update(iteration=min(completed, max_iter), max_iterations=max_iter)
        reporter = self._build_reporter(completed)
        tests = cfg.DATASETS.TEST
        loop = ObservedLoop(
            world,
            reporter,
            stop,
            self._life.pod.output,
            max_iter=max_iter,
            dataset=tests[0] if tests else "",
            keep=self._life.job.spec.checkpoint.keep,
            admit=self._life.fence.check,
        )
        with closing(reporter), loop.observed():
            self._call(cfg, loop, resume=completed > 0)
        self._doubt_the_end(stop, max(completed, loop.reached))

    def _doubt_the_end(self, stop: StopRequest, reached: int) -> None:
        """Code that heeds SIGTERM by itself returns then as it does in the end: the iterations tell which.

        Raises:
            PreemptedError: a process was asked to stop, and not all are known to have got to the end.
        """
        world, max_iter = self._life.world, self._life.cfg.SOLVER.MAX_ITER
        asked, early = stop.came(), reached < max_iter
        if world.can_talk:
            asked, early = world.any(asked), world.any(early)
        if asked and early:
            raise PreemptedError(
                f"asked to stop, spec.trainer returned after iteration {reached} of {max_iter}",
                iteration=reached,
            )

    def _with_local_weights(self) -> CfgNode:
        """The config with weights that lie in this pod: one process of it has fetched them for all."""
        cfg = self._life.cfg.clone()
        cfg.defrost()
        cfg.MODEL.WEIGHTS = self._life.weights(here=self._life.world.speaks_for_pod)
        cfg.freeze()
        return cfg

    def _build_reporter(self, completed: int) -> Reporter:
        life, metrics = self._life, self._life.job.spec.metrics
        if not life.world.is_main:
            return silent_reporter(life.cfg, life.board, metrics.period)
        drop_rows_from(life.pod.output / "metrics.json", completed)
        return observing_reporter(
            life.cfg,
            life.board,
            life.registry,
            completed,
            metrics=metrics,
            config=life.recipe.dump(life.cfg),
            trackers=life.trackers(),
        )

    def _call(self, cfg: CfgNode, loop: ObservedLoop, *, resume: bool) -> None:
        assert self._life.job.spec.trainer is not None
        trainer = user_code.load(self._life.job.spec.trainer)
        try:
            if isinstance(trainer, type) and issubclass(trainer, TrainerBase):
                _train(trainer(cfg), loop, resume=resume)
            else:
                cast(Callable[[CfgNode, bool], object], trainer)(cfg, resume)
        except SystemExit as left:
            # A process that left here would leave no verdict behind, and exit code 0 would be the job's end.
            if left.code not in (None, 0):
                raise RuntimeError(f"spec.trainer left by sys.exit({left.code!r})") from left
        except LoopStopped as stopped:
            raise PreemptedError(
                f"stopped after iteration {stopped.completed} of {cfg.SOLVER.MAX_ITER}",
                iteration=stopped.completed,
            ) from stopped
        except (FloatingPointError, AssertionError) as error:
            if _says_not_finite(error):
                iteration = self._life.board.snapshot().iteration
                raise LoopLossNotFiniteError(str(error), iteration=iteration) from error
            raise


def _train(trainer: TrainerBase, loop: ObservedLoop, *, resume: bool) -> None:
    trainer.register_hooks([CompletedSteps(loop)])
    if hasattr(trainer, "resume_or_load"):
        trainer.resume_or_load(resume=resume)
    if isinstance(trainer, DefaultTrainer):
        trainer.train()
    else:
        trainer.train(trainer.start_iter, trainer.max_iter)


def _says_not_finite(error: FloatingPointError | AssertionError) -> bool:
    """Whether a loop refuses a loss so: by the error's type, or by an assertion that shows the losses."""
    if isinstance(error, FloatingPointError):
        return True
    losses = error.args[0] if error.args else None
    tensors = losses.values() if isinstance(losses, Mapping) else [losses]
    return any(isinstance(loss, torch.Tensor) and not bool(loss.isfinite().all()) for loss in tensors)


def place_checkpoint(world: World, folder: Path) -> int:
    """Put rank 0's newest good checkpoint where the loop of every rank looks for it; all ranks call it.

    Returns the iterations in it, 0 where there is none.

    Raises:
        CheckpointCorruptError: there are some, and not one can be read; on every rank.
    """
    newest = newest_on_rank_0(world, folder, SAVED_BY_ANY_LOOP)
    found = world.broadcast((newest[0].name, int(newest[1]["iteration"]) + 1) if newest is not None else None)
    if found is None:
        if world.speaks_for_pod:
            (folder / TAG).unlink(missing_ok=True)
        return 0
    name, completed = found
    _logger.info("the newest good checkpoint is %s, after %d iterations", name, completed)
    content = None
    if world.size > world.local_size:
        content = world.broadcast_bytes((folder / name).read_bytes() if world.is_main else None)
    if world.speaks_for_pod:
        if content is not None and not world.is_main:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        with replaced_atomically(folder / TAG, "w") as file:
            file.write(name)
    world.barrier()
    return completed
