"""Evaluation by COCO's metrics on every test dataset, by all ranks together, interruptible."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.config import CfgNode
from detectron2.evaluation import inference_on_dataset, print_csv_format
from detectron2.modeling import GeneralizedRCNNWithTTA
from torch import nn

from detectron_trainer.atomic_file import replaced_atomically
from detectron_trainer.gang.stop import StopRequest
from detectron_trainer.gang.world import World
from detectron_trainer.metrics.scalars import AveragePrecision, flatten
from detectron_trainer.progress.parts import Evaluation
from detectron_trainer.recipe.recipe import Batches, Recipe

FILE = "evaluation.json"
TASKS = ("segm", "keypoints", "bbox")
"""Of several tasks the first one of these gives the job's average precision."""
OF_SEGMENTS = frozenset({"mIoU", "fwIoU", "mACC", "pACC", "PQ", "SQ", "RQ"})
"""Of semantic and panoptic segmentation, over all categories."""
_BATCHES_BETWEEN_POLLS = 8

_logger = logging.getLogger(__name__)

Results = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Per cent by dataset, task and kind, as `COCOEvaluator` returns them; empty on other ranks than 0."""


class EvaluationStopped(Exception):  # noqa: N818 - not an error, and all ranks raise it together
    """The run was asked to stop; the evaluation has no result."""


class InterruptibleBatches:
    """A rank's batches; every few of them all ranks look whether one was asked to stop, and tell `got_on`.

    Ranks may have different numbers of batches, so the shorter ones go on looking when theirs are through.
    """

    def __init__(self, batches: Batches, world: World, stop: StopRequest, got_on: Callable[[], None]) -> None:
        self._batches = batches
        self._world = world
        self._stop = stop
        self._got_on = got_on

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[object]:
        polls = math.ceil(self._world.longest(len(self._batches)) / _BATCHES_BETWEEN_POLLS)
        for index, batch in enumerate(self._batches):
            if index % _BATCHES_BETWEEN_POLLS == 0:
                self._poll()
                polls -= 1
            yield batch
        for _ in range(polls):
            self._poll()

    def _poll(self) -> None:
        if self._world.any(self._stop.made):
            raise EvaluationStopped
        self._got_on()


def evaluate(
    recipe: Recipe,
    cfg: CfgNode,
    model: nn.Module,
    final: bool,
    *,
    world: World,
    stop: StopRequest,
    got_on: Callable[[], None],
) -> Results:
    """Evaluate `model` (not distributed) on each of DATASETS.TEST; all ranks call it.

    `got_on` is told of batches that are through. TEST.AUG adds the results on augmented images to the `final`
    evaluation, under names that end in ``_TTA``.

    Raises:
        EvaluationStopped: on all ranks, if any was asked to stop before it was through.
    """
    results: dict[str, Mapping[str, Mapping[str, float]]] = {}
    augmented = GeneralizedRCNNWithTTA(cfg, model) if final and cfg.TEST.AUG.ENABLED else None
    for name in cfg.DATASETS.TEST:
        batches = InterruptibleBatches(recipe.test_batches(cfg, name), world, stop, got_on)
        folder = Path(cfg.OUTPUT_DIR, "inference", name)
        outcome = inference_on_dataset(model, batches, recipe.evaluator(cfg, name, folder))
        if augmented is not None:
            more = inference_on_dataset(augmented, batches, recipe.evaluator(cfg, name, folder / "TTA"))
            outcome = {**outcome, **{f"{task}_TTA": values for task, values in (more or {}).items()}}
        # Rank 0 alone computes the metrics, which takes minutes on large datasets.
        world.barrier()
        if world.is_main:
            print_csv_format(outcome)
            results[name] = outcome
    return results


def is_due(cfg: CfgNode, completed: int) -> bool:
    """Whether the schedule asks for an evaluation after `completed` iterations."""
    period = cfg.TEST.EVAL_PERIOD
    at_period = period > 0 and completed > 0 and completed % period == 0
    return bool(cfg.DATASETS.TEST) and (at_period or completed >= cfg.SOLVER.MAX_ITER)


def is_owed(cfg: CfgNode, completed: int, last_evaluated: int | None) -> bool:
    """Whether a run that resumes after `completed` iterations must evaluate before it trains.

    An earlier life may have saved its state and ended before it had evaluated it; one that had trained all
    iterations is evaluated whenever it is run again.
    """
    is_at_end = completed >= cfg.SOLVER.MAX_ITER
    return completed > 0 and is_due(cfg, completed) and (is_at_end or last_evaluated != completed)


def scalars(results: Results) -> dict[str, float]:
    """Finite results under the names that Detectron2's EvalHook gives them, in per cent.

    The dataset is part of the name only where there are several.
    """
    nested = next(iter(results.values())) if len(results) == 1 else results
    return {"/".join(path): value for path, value in flatten(nested) if math.isfinite(value)}


def summarize(results: Results, completed: int) -> Evaluation:
    """The evaluation after `completed` iterations for the progress document: ratios, without categories."""
    metrics = {
        "/".join(path): value / 100
        for path, value in flatten(results)
        if math.isfinite(value) and (_is_overall_precision("/".join(path)) or path[-1] in OF_SEGMENTS)
    }
    first = next(iter(results), "")
    precision = next((metrics[key] for task in TASKS if (key := f"{first}/{task}/AP") in metrics), None)
    return Evaluation(iteration=completed, metrics=metrics, average_precision=precision)


def _is_overall_precision(name: str) -> bool:
    about = AveragePrecision.parse(name)
    return about is not None and about.category is None


def write_results(folder: Path, results: Results, completed: int) -> None:
    """Keep the newest results, of after `completed` iterations, beside the checkpoints."""
    with replaced_atomically(folder / FILE, "w") as file:
        json.dump({"iteration": completed, "results": results}, file, indent=1, default=float)


def read_results(folder: Path) -> tuple[Results, int] | None:
    """What `write_results` has kept, None where there is nothing of use."""
    try:
        document = json.loads((folder / FILE).read_text())
        results, completed = dict(document["results"]), int(document["iteration"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _logger.warning("%s cannot be read (%s); it will be written anew", folder / FILE, error)
        return None
    return results, completed
