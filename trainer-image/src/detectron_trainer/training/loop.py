"""The training loop: steps, metrics, checkpoints, evaluations and stops, the same on every rank.

Iterations count from 0 as in Detectron2; a checkpoint's `iteration` is the last completed one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage

from detectron_trainer.checkpointing.best import BestSoFar
from detectron_trainer.checkpointing.checkpoint import AVERAGE, Checkpoints
from detectron_trainer.checkpointing.lineage import Lineage
from detectron_trainer.checkpointing.randomness import kept_random_state, random_state
from detectron_trainer.data.batches import Batch
from detectron_trainer.data.readable_images import UnreadableImages
from detectron_trainer.evaluation.evaluation import (
    EvaluationStopped,
    Results,
    is_due,
    summarize,
    write_results,
)
from detectron_trainer.evaluation.round import EvaluationRound
from detectron_trainer.failures import PreemptedError, TrainingError, UnreadableImagesError
from detectron_trainer.gang.stop import StopRequest
from detectron_trainer.gang.world import World
from detectron_trainer.metrics.json_file import put_recent_values, recent_values
from detectron_trainer.metrics.storage import BoundedStorage
from detectron_trainer.model.assembly import Training, share_buffers
from detectron_trainer.progress.parts import Phase
from detectron_trainer.training.precise_bn import PreciseBN
from detectron_trainer.training.reporter import Reporter
from detectron_trainer.training.step import RankState, Stepper, StepReport, learning_rate
from detectron_trainer.training.trace import Trace

_logger = logging.getLogger(__name__)


class TrainingLoop:
    """Trains from where `lineage` begins to the last iteration.

    `unreadable` counts this rank's bad images, of which all ranks may meet `max_unreadable`. `evaluation`
    runs on all ranks; `best` judges the results on rank 0, where the
    best checkpoint is to be kept, and training ends when that is `patience` iterations old. `owes_evaluation`
    asks for an evaluation before training; `lineage` goes into checkpoints; `clock` counts seconds.
    """

    def __init__(
        self,
        cfg: CfgNode,
        world: World,
        training: Training,
        stepper: Stepper,
        checkpoints: Checkpoints,
        reporter: Reporter,
        stop: StopRequest,
        unreadable: UnreadableImages,
        best: BestSoFar | None,
        evaluation: EvaluationRound,
        precise_bn: PreciseBN | None,
        trace: Trace,
        *,
        owes_evaluation: bool,
        lineage: Lineage,
        max_unreadable: int,
        patience: int | None,
        clock: Callable[[], float],
    ) -> None:
        self._cfg = cfg
        self._world = world
        self._training = training
        self._stepper = stepper
        self._checkpoints = checkpoints
        self._reporter = reporter
        self._stop = stop
        self._unreadable = unreadable
        self._best = best
        self._evaluation = evaluation
        self._precise_bn = precise_bn
        self._trace = trace
        self._start = start = lineage.start
        self._owes_evaluation = owes_evaluation
        self._lineage = lineage
        self._max_unreadable = max_unreadable
        self._patience = patience
        self._clock = clock
        self._max_iter: int = cfg.SOLVER.MAX_ITER
        self._saved = start
        self._completed = start

    def run(self, batches: Iterator[Batch], recent: Mapping[str, Any]) -> None:
        """Train and evaluate; all ranks call it. `recent` holds the scalars that the checkpoint brought.

        Raises:
            PreemptedError: on all ranks, after the state is saved.
            NonFiniteLossError: on all ranks.
            UnreadableImagesError: on all ranks, after the state is saved.
        """
        with BoundedStorage(self._start, self._reporter.period) as storage:
            if self._start > 0:
                storage.iter = self._start - 1
                put_recent_values(storage, recent)
                if self._owes_evaluation:
                    self._evaluate(storage)
                    self._reporter.write()
            self._reporter.phase(Phase.TRAINING)
            try:
                for iteration in range(self._start, self._max_iter):
                    if self._has_stalled(iteration):
                        self._end_early(storage)
                        break
                    with self._trace.of(iteration):
                        self._iterate(storage, iteration, batches)
                self._save_average()
            except TrainingError:
                raise
            except Exception:
                self._rescue()
                raise

    def _iterate(self, storage: EventStorage, iteration: int, batches: Iterator[Batch]) -> None:
        storage.iter = iteration
        began = self._clock()
        batch = next(batches)
        waited = self._clock() - began
        state = RankState(data_time=waited, stop=self._stop.made, unreadable=self._unreadable.count)
        report = self._stepper.step(batch, iteration, state)
        storage.put_scalar("lr", learning_rate(self._training.optimizer), smoothing_hint=False)
        self._training.scheduler.step()
        self._completed = completed = iteration + 1
        self._reporter.completed(completed)
        put_report(storage, report, self._clock() - began)
        if report.gradient_norm is not None:
            storage.put_scalar("gradient_norm", report.gradient_norm)
        if report.unreadable:
            storage.put_scalar("unreadable_images", report.unreadable, smoothing_hint=False)

        if self._precise_bn is not None and self._precise_bn.is_due(completed):
            self._reporter.phase(Phase.EVALUATING)
            for model in {self._training.model, self._training.evaluated}:
                self._precise_bn.update(model, completed)
            self._reporter.phase(Phase.TRAINING)
        self._checkpoints.poll()
        if self._checkpoints.is_due(completed):
            self._save_now(storage)
        if is_due(self._cfg, completed) and not report.stop:
            self._evaluate(storage)
            self._reporter.write()
        elif report.stop or self._reporter.is_due(completed):
            self._reporter.write()
        if report.unreadable > self._max_unreadable:
            self._give_up_on_data(storage, report.unreadable)
        if report.stop:
            self._leave(storage)

    def _save_now(self, storage: EventStorage) -> None:
        """Save what is completed, unless it is saved already."""
        if self._saved != self._completed:
            self._save(storage, self._checkpoints.save)
            self._saved = self._completed

    def _save(self, storage: EventStorage, write: Callable[..., None]) -> None:
        """Save by `write`, on rank 0, what all ranks need to go on after this iteration."""
        share_buffers(self._training, self._world)
        states = self._world.gather(random_state())
        if self._world.is_main:
            self._reporter.phase(Phase.CHECKPOINTING)
            lasting = self._lineage.state(storage.iter + 1)
            write(storage.iter, **lasting, random_states=states, recent_scalars=recent_values(storage))
            self._reporter.phase(Phase.TRAINING)

    def _has_stalled(self, completed: int) -> bool:
        """Whether the evaluation after `completed` iterations is the last that might have beaten the best.

        The same question after a restart gets the same answer: a run that has ended early stays ended.
        """
        if self._patience is None or not is_due(self._cfg, completed):
            return False
        best = self._best.checkpoint if self._best is not None else None
        return self._world.broadcast(best is not None and completed - best.iteration >= self._patience)

    def _end_early(self, storage: EventStorage) -> None:
        _logger.info("ended early: the best checkpoint is %s iterations old", self._patience)
        self._save_now(storage)

    def _save_average(self) -> None:
        averaged = self._training.averaged
        if self._world.is_main and averaged is not None:
            self._checkpoints.save_weights(AVERAGE, self._training.evaluated)

    def abandon(self) -> bool:
        """From another thread: save what rank 0 holds while the loop waits for ranks that do not answer.

        Returns whether the loop waits; it then does so for good, and the process is to end.
        """
        if not self._stepper.seize():
            return False
        self._rescue()
        try:
            self._checkpoints.wait()
        except TrainingError as error:
            _logger.error("the checkpoint in the background is lost: %s", error)
        return True

    def _rescue(self) -> None:
        """Save what rank 0 holds when a peer is lost, or anything else broke a step off, and ask nobody.

        Its weights are those of the last completed iteration. Lost are the other ranks' random numbers, and
        running statistics have seen the images of the iteration that broke off.
        """
        if not self._world.is_main or self._stepper.applying or self._completed == self._saved:
            return
        _logger.warning("a step has failed: saving iteration %d before leaving", self._completed)
        try:
            self._checkpoints.save(self._completed - 1, **self._lineage.state(self._completed))
        except TrainingError as error:
            _logger.error("what was trained since the last checkpoint is lost: %s", error)

    def _give_up_on_data(self, storage: EventStorage, count: int) -> NoReturn:
        self._save_now(storage)
        self._checkpoints.wait()
        named = "; ".join(filter(None, self._world.gather(self._unreadable.latest)))
        raise UnreadableImagesError(
            f"{count} training images could not be read, {self._max_unreadable} may "
            f"(spec.training.maxUnreadableImages): {named}",
            iteration=self._completed,
        )

    def _leave(self, storage: EventStorage) -> NoReturn:
        self._save_now(storage)
        self._checkpoints.wait()
        raise PreemptedError(
            f"stopped after iteration {self._completed} of {self._max_iter}", iteration=self._completed
        )

    def _evaluate(self, storage: EventStorage) -> None:
        self._reporter.phase(Phase.EVALUATING)
        share_buffers(self._training, self._world)
        try:
            # Evaluation draws random numbers; the training that follows must not depend on that.
            with kept_random_state():
                final = storage.iter + 1 >= self._max_iter
                results, values = self._evaluation.run(self._training.evaluated, final=final)
        except EvaluationStopped:
            self._reporter.write()
            self._leave(storage)
        if self._world.is_main:
            for name, value in values.items():
                storage.put_scalar(name, value, smoothing_hint=False)
        # Before the results are on record: a life that ends in between evaluates anew.
        self._save_if_best(storage, results)
        if self._world.is_main:
            write_results(Path(self._cfg.OUTPUT_DIR), results, storage.iter + 1)
            self._reporter.evaluation(results, storage.iter + 1)
        self._reporter.phase(Phase.TRAINING)

    def _save_if_best(self, storage: EventStorage, results: Results) -> None:
        evaluation = summarize(results, storage.iter + 1)
        is_best = self._best is not None and self._best.beaten_by(evaluation)
        if self._world.broadcast(is_best):
            self._save(storage, self._checkpoints.save_best)
            if self._best is not None:
                self._reporter.best(self._best.replace(evaluation))


def put_report(storage: EventStorage, report: StepReport, seconds: float) -> None:
    storage.put_scalar("total_loss", report.total_loss)
    if len(report.losses) > 1:
        storage.put_scalars(**report.losses)
    storage.put_scalars(time=seconds, data_time=report.data_time)
