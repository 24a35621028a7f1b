"""Putting a run together: from the newest checkpoint, or from the start, to the training loop."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from functools import partial

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.config import CfgNode
from torch import nn

from detectron_trainer.checkpointing.best import BestSoFar
from detectron_trainer.checkpointing.checkpoint import AtomicCheckpointer, Checkpoints
from detectron_trainer.checkpointing.lineage import Lineage, edits, settings_of, with_lower_rate
from detectron_trainer.checkpointing.randomness import restore_random_state
from detectron_trainer.checkpointing.resume import (
    ResumePoint,
    assert_equal_ranks,
    restore,
    shared_resume_point,
)
from detectron_trainer.data.batches import training_batches
from detectron_trainer.data.readable_images import UnreadableImages
from detectron_trainer.evaluation.evaluation import is_owed, read_results
from detectron_trainer.evaluation.round import EvaluationRound
from detectron_trainer.failures import NonFiniteLossError
from detectron_trainer.gang.overdue_stop import OverdueStop
from detectron_trainer.gang.stop import StopRequest
from detectron_trainer.model.assembly import Training, build_training, distribute
from detectron_trainer.progress.parts import Reason, Verdict
from detectron_trainer.training.life import Life
from detectron_trainer.training.loop import TrainingLoop
from detectron_trainer.training.precise_bn import PreciseBN
from detectron_trainer.training.reporter import Reporter, main_reporter, silent_reporter
from detectron_trainer.training.step import Stepper
from detectron_trainer.training.trace import Trace

_logger = logging.getLogger(__name__)


class TrainingRun:
    """A life of a job with the product's own loop."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._cfg = life.cfg
        self._rollbacks = 0

    def train(self, stop: StopRequest) -> None:
        """Train to the end, from the newest checkpoint if there is one; all ranks call it.

        Raises:
            TrainingError: see `detectron_trainer.failures`.
        """
        if self._life.world.is_main:
            self._life.open_output()
        while True:
            try:
                self._live(stop)
            except NonFiniteLossError as error:
                if not self._may_roll_back():
                    raise
                self._rollbacks += 1
                _logger.warning("%s: rollback %d", error, self._rollbacks)
            else:
                return

    def _live(self, stop: StopRequest) -> None:
        """Train from the newest checkpoint on until the end or the first loss that is not finite."""
        world, recipe = self._life.world, self._life.recipe
        point = shared_resume_point(world, self._life.pod.output).on_the_schedule_of(self._life.cfg)
        self._rollbacks = max(self._rollbacks, point.rollbacks)
        self._cfg = cfg = self._lowered_cfg()
        max_iter = cfg.SOLVER.MAX_ITER
        seed = self._life.prepare(cfg, point.seed)
        lineage = self._continue_lineage(point, seed)
        options = self._life.job.spec.training
        training = build_training(recipe, cfg, world, options)
        owes_evaluation, reporter = self._build_reporter(point)
        checkpoints = Checkpoints(
            self._load(training, point, reporter),
            period=cfg.SOLVER.CHECKPOINT_PERIOD,
            max_iter=max_iter,
            keep=self._life.job.spec.checkpoint.keep,
            asynchronous=self._life.job.spec.checkpoint.asynchronous,
        )
        stepper = Stepper(
            self._distribute(training, point),
            training,
            world,
            accumulation=options.gradient_accumulation,
            max_gradient_norm=options.max_gradient_norm,
        )
        self._life.board.update(iteration=min(point.completed, max_iter), max_iterations=max_iter)
        unreadable = UnreadableImages()
        trace = Trace(options.profile if world.is_main else None, self._life.pod.output)
        loop = TrainingLoop(
            cfg,
            world,
            training,
            stepper,
            checkpoints,
            reporter,
            stop,
            unreadable,
            self._best_so_far(reporter),
            EvaluationRound(
                recipe=recipe,
                cfg=cfg,
                world=world,
                stop=stop,
                got_on=reporter.got_on,
                loss=self._life.job.spec.evaluation.loss,
            ),
            PreciseBN(recipe, cfg, world, lineage) if cfg.TEST.PRECISE_BN.ENABLED else None,
            trace,
            owes_evaluation=owes_evaluation,
            lineage=lineage,
            max_unreadable=options.max_unreadable_images,
            patience=self._patience(),
            clock=time.perf_counter,
        )
        watch = OverdueStop(stop, self._life.board, partial(self._abandon, loop))
        with closing(reporter), checkpoints.completed(), closing(trace), watch:
            batches = training_batches(recipe, cfg, world, lineage, unreadable)
            self._restore_randomness(point)
            try:
                loop.run(batches, point.recent_scalars)
            except NonFiniteLossError:
                if self._may_roll_back():
                    reporter.withdraw()
                raise

    def _abandon(self, loop: TrainingLoop) -> bool:
        if not loop.abandon():
            return False
        iteration = self._life.board.snapshot().iteration
        message = f"stopped after iteration {iteration} without the other ranks, which do not answer"
        rank = self._life.world.rank
        self._life.leave(
            Verdict(reason=Reason.PREEMPTED, message=message, retryable=True, rank=rank, iteration=iteration)
        )
        return True

    def _patience(self) -> int | None:
        early = self._life.job.spec.training.early_stopping
        return early.patience * self._cfg.TEST.EVAL_PERIOD if early is not None else None

    def _may_roll_back(self) -> bool:
        policy = self._life.job.spec.training.non_finite_loss
        return policy is not None and self._rollbacks < policy.rollbacks

    def _lowered_cfg(self) -> CfgNode:
        policy = self._life.job.spec.training.non_finite_loss
        if policy is None:
            return self._life.cfg
        return with_lower_rate(self._life.cfg, policy.learning_rate_factor**self._rollbacks)

    def _continue_lineage(self, point: ResumePoint, seed: int) -> Lineage:
        batch: int = self._cfg.SOLVER.IMS_PER_BATCH
        settings = settings_of(self._cfg, self._life.world.size)
        if changed := edits(point.settings, settings):
            _logger.info("edited, in effect from iteration %d on: %s", point.completed, "; ".join(changed))
        return Lineage(
            seed=seed,
            start=point.completed,
            images_before=point.completed * batch if point.images is None else point.images,
            images_per_iteration=batch,
            settings=settings,
            rollbacks=self._rollbacks,
        )

    def _build_reporter(self, point: ResumePoint) -> tuple[bool, Reporter]:
        """Whether an evaluation is owed before training, and the reporter, which knows the last one."""
        cfg, metrics = self._cfg, self._life.job.spec.metrics
        evaluated = read_results(self._life.pod.output) if self._life.world.is_main else None
        owed = self._life.world.broadcast(is_owed(cfg, point.completed, evaluated[1] if evaluated else None))
        if not self._life.world.is_main:
            return owed, silent_reporter(cfg, self._life.board, metrics.period)
        # What is evaluated before training goes into the row of the iteration before it.
        first_row = point.completed - 1 if owed else point.completed
        reporter = main_reporter(
            cfg,
            self._life.board,
            self._life.registry,
            point.completed,
            first_row,
            metrics=metrics,
            config=self._life.recipe.dump(cfg),
            trackers=self._life.trackers(),
        )
        if point.path is not None:
            reporter.checkpoint(point.path, point.completed)
        if evaluated is not None and evaluated[1] <= point.completed:
            reporter.evaluation(*evaluated)
        return owed, reporter

    def _best_so_far(self, reporter: Reporter) -> BestSoFar | None:
        wanted = self._life.job.spec.checkpoint.best
        if wanted is None or not self._life.world.is_main:
            return None
        best = BestSoFar(self._life.pod.output, wanted.metric, self._life.clock)
        if best.checkpoint is not None:
            reporter.best(best.checkpoint)
        return best

    def _load(self, training: Training, point: ResumePoint, reporter: Reporter) -> AtomicCheckpointer:
        """Load the checkpoint, else MODEL.WEIGHTS; returns what saves the run from here on."""
        checkpointer = AtomicCheckpointer(
            training.model,
            self._life.pod.output,
            admit=self._life.fence.check,
            saved=reporter.checkpoint,
            **training.checkpointables(),
        )
        if point.content is not None:
            restore(training, checkpointer, point.content, point.completed)
        else:
            weights = self._life.weights(here=self._life.world.is_main)
            if self._life.world.is_main:
                # The other ranks get them when the model is distributed.
                checkpointer.begin_with(weights)
        return checkpointer

    def _distribute(self, training: Training, point: ResumePoint) -> nn.Module:
        model = distribute(training.model, self._life.world, self._life.recipe.distribution())
        assert_equal_ranks(self._life.world, training.model, point.completed)
        return model

    def _restore_randomness(self, point: ResumePoint) -> None:
        """As the last thing before training: all that is built draws random numbers too."""
        states, size = point.random_states, self._life.world.size
        if len(states) == size:
            restore_random_state(states[self._life.world.rank])
        elif states:
            _logger.warning("%d processes instead of %d: random numbers start anew", size, len(states))
