"""A life of a job that evaluates and does not train, by the manifest's ``evaluation.only``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage
from torch import nn

from detectron_trainer.checkpointing.checkpoint import AtomicCheckpointer
from detectron_trainer.checkpointing.resume import assert_equal_ranks, newest_on_rank_0
from detectron_trainer.evaluation.evaluation import EvaluationStopped, write_results
from detectron_trainer.evaluation.round import EvaluationRound
from detectron_trainer.failures import InvalidConfigError, PreemptedError, Problem
from detectron_trainer.gang.stop import StopRequest
from detectron_trainer.metrics.json_file import put_recent_values
from detectron_trainer.model.assembly import build_model, share_weights
from detectron_trainer.progress.parts import Phase
from detectron_trainer.training.life import Life
from detectron_trainer.training.reporter import Reporter, main_reporter, silent_reporter

HOLDS_A_MODEL = frozenset({"model", "iteration"})


class EvaluationRun:
    """Evaluates the newest checkpoint of the output folder or, where there is none, MODEL.WEIGHTS.

    A life that is stopped leaves nothing behind, and the next one evaluates anew.
    """

    def __init__(self, life: Life) -> None:
        self._life = life

    def evaluate(self, stop: StopRequest) -> None:
        """Evaluate on all test datasets; all ranks call it.

        Raises:
            TrainingError: see `detectron_trainer.failures`.
        """
        life, world, options = self._life, self._life.world, self._life.job.spec
        if world.is_main:
            life.open_output()
        found = newest_on_rank_0(world, life.pod.output, HOLDS_A_MODEL)
        content = found[1] if found is not None else None
        completed = world.broadcast(content["iteration"] + 1 if content is not None else None)
        life.prepare(life.cfg, earlier_seed=None)
        model = build_model(life.recipe, life.cfg, options.training)
        self._load(model, content, completed)
        cfg = _ending_at(life.cfg, completed or 0)
        reporter = self._build_reporter(cfg)
        evaluation = EvaluationRound(
            recipe=life.recipe,
            cfg=cfg,
            world=world,
            stop=stop,
            got_on=reporter.got_on,
            loss=options.evaluation.loss,
        )
        with closing(reporter), EventStorage(max(0, cfg.SOLVER.MAX_ITER - 1)) as storage:
            put_recent_values(storage, content.get("recent_scalars", {}) if content is not None else {})
            self._report(evaluation, model, reporter, storage)

    def _load(self, model: nn.Module, content: dict[str, Any] | None, completed: int | None) -> None:
        """Load the checkpoint or the weights on rank 0, for all ranks."""
        life = self._life
        weights = life.weights(here=life.world.is_main) if completed is None else ""
        if completed is None and not weights:
            message = "nothing to evaluate: no weights are named, and the output folder holds no checkpoint"
            raise InvalidConfigError([Problem("spec.weights", message)])
        if life.world.is_main:
            checkpointer = AtomicCheckpointer(
                model, life.pod.output, admit=life.fence.check, saved=lambda path, completed: None
            )
            if content is None:
                checkpointer.begin_with(weights)
            else:
                checkpointer.restore(self._judged(content))
        share_weights(model, life.world)
        assert_equal_ranks(life.world, model, completed or 0)

    def _judged(self, content: dict[str, Any]) -> dict[str, Any]:
        """The checkpoint with the weights that training would have evaluated: the average, if it has one."""
        if self._life.job.spec.training.ema is None or "ema" not in content:
            return content
        average: Mapping[str, Any] = content["ema"]
        prefix = "module."
        held = {name.removeprefix(prefix): v for name, v in average.items() if name.startswith(prefix)}
        return {**content, "model": held}

    def _build_reporter(self, cfg: CfgNode) -> Reporter:
        life, metrics = self._life, self._life.job.spec.metrics
        completed = cfg.SOLVER.MAX_ITER
        life.board.update(iteration=completed)
        if not life.world.is_main:
            return silent_reporter(cfg, life.board, metrics.period)
        return main_reporter(
            cfg,
            life.board,
            life.registry,
            completed,
            max(0, completed - 1),
            metrics=metrics,
            config=life.recipe.dump(life.cfg),
            trackers=life.trackers(),
        )

    def _report(
        self, evaluation: EvaluationRound, model: nn.Module, reporter: Reporter, storage: EventStorage
    ) -> None:
        completed = evaluation.cfg.SOLVER.MAX_ITER
        reporter.phase(Phase.EVALUATING)
        try:
            results, values = evaluation.run(model, final=True)
        except EvaluationStopped as stopped:
            raise PreemptedError(
                "stopped before the evaluation was through", iteration=completed
            ) from stopped
        if self._life.world.is_main:
            for name, value in values.items():
                storage.put_scalar(name, value, smoothing_hint=False)
            write_results(self._life.pod.output, results, completed)
            reporter.evaluation(results, completed)
        reporter.write()


def _ending_at(cfg: CfgNode, completed: int) -> CfgNode:
    """`cfg` for a run that has no iteration left."""
    ended = cfg.clone()
    ended.defrost()
    ended.SOLVER.MAX_ITER = completed
    ended.freeze()
    return ended
