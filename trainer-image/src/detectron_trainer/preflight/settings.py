"""Settings of the config and the manifest that contradict each other, the processes or the machine."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN

from detectron_trainer.failures import Problem
from detectron_trainer.job.lazy_config import is_lazy
from detectron_trainer.job.manifest import EvaluationOptions, Job
from detectron_trainer.model.levers import missing_compiler
from detectron_trainer.recipe.evaluators import EVALUATORS, evaluator_type
from detectron_trainer.recipe.sampler import SAMPLERS

WHERE = "spec.config"
_OURS_ALONE = "is of our own loop, which spec.trainer replaces"


def judge_settings(job: Job, cfg: CfgNode, world_size: int) -> Iterator[Problem]:
    """What keeps `cfg` from being trained by `world_size` processes in the way that `job` asks for."""
    yield from _judge_config(cfg)
    for size in _world_sizes(job, world_size):
        yield from _judge_batch(job, cfg, size)
    yield from _judge_dataset_names(cfg, job.spec.evaluation)
    yield from _judge_trackers(job)
    if not is_lazy(job):
        yield from _judge_architecture(cfg)
    if job.spec.trainer is None:
        yield from _judge_our_loop(cfg)
        yield from _judge_best(job, cfg)
        yield from _judge_options(job, cfg)
    else:
        yield from _judge_own_trainer(job)


def _world_sizes(job: Job, world_size: int) -> list[int]:
    """The number of processes now, and all that an elastic gang may come to have."""
    policy = job.spec.elastic_policy
    if policy.min_nodes is None:
        return [world_size]
    return [nodes * job.spec.processes_per_node for nodes in policy.sizes(job.spec.num_nodes)]


def _judge_batch(job: Job, cfg: CfgNode, world_size: int) -> Iterator[Problem]:
    batch, parts = cfg.SOLVER.IMS_PER_BATCH, job.spec.training.gradient_accumulation
    if batch % world_size:
        yield Problem(
            WHERE,
            f"SOLVER.IMS_PER_BATCH {batch} is the batch of all processes together and must be divisible by "
            f"their number, {world_size}",
        )
    if job.spec.trainer is None and batch // world_size % parts:
        yield Problem(
            "spec.training.gradientAccumulation",
            f"{parts} parts cannot be made of {batch // world_size} images a process",
        )


def _judge_config(cfg: CfgNode) -> Iterator[Problem]:
    for key in ("IMS_PER_BATCH", "MAX_ITER", "CHECKPOINT_PERIOD"):
        if cfg.SOLVER[key] < 1:
            yield Problem(WHERE, f"SOLVER.{key} must be at least 1, not {cfg.SOLVER[key]}")
    if cfg.SOLVER.AMP.ENABLED and cfg.MODEL.DEVICE == "cpu":
        yield Problem(WHERE, "SOLVER.AMP.ENABLED needs a GPU, and this process sees none")
    if cfg.VIS_PERIOD > 0 and importlib.util.find_spec("matplotlib") is None:
        yield Problem(WHERE, "VIS_PERIOD needs matplotlib, which this image does not have")
    if cfg.MODEL.WEIGHTS.startswith("/") and not Path(cfg.MODEL.WEIGHTS).is_file():
        yield Problem("spec.weights.source", f"{cfg.MODEL.WEIGHTS} (MODEL.WEIGHTS) does not exist")


def _judge_architecture(cfg: CfgNode) -> Iterator[Problem]:
    architecture = cfg.MODEL.META_ARCHITECTURE
    if architecture not in META_ARCH_REGISTRY:
        known = ", ".join(sorted(name for name, _ in META_ARCH_REGISTRY))
        yield Problem(
            WHERE, f"MODEL.META_ARCHITECTURE {architecture} is none of {known}; is a plugin missing?"
        )


def _judge_trackers(job: Job) -> Iterator[Problem]:
    for package in ("wandb", "mlflow"):
        wanted = getattr(job.spec.metrics, package) is not None
        if wanted and importlib.util.find_spec(package) is None:
            message = f"needs the package {package}, which this image does not have: install"
            yield Problem(
                f"spec.metrics.{package}", f"{message} detectron-trainer[{package}] in one of yours"
            )


def _judge_best(job: Job, cfg: CfgNode) -> Iterator[Problem]:
    best, where = job.spec.checkpoint.best, "spec.checkpoint.best"
    if best is None:
        return
    if not cfg.DATASETS.TEST:
        yield Problem(where, "needs a dataset with split test, by whose evaluation to tell which is best")
    elif best.metric is not None and best.metric.partition("/")[0] not in cfg.DATASETS.TEST:
        known = ", ".join(cfg.DATASETS.TEST)
        yield Problem(f"{where}.metric", f"{best.metric} begins with none of the test datasets: {known}")


def _judge_early_stopping(job: Job, cfg: CfgNode) -> Iterator[Problem]:
    where = "spec.training.earlyStopping"
    if job.spec.training.early_stopping is None:
        return
    if job.spec.checkpoint.best is None:
        yield Problem(where, "needs spec.checkpoint.best, whose metric it watches")
    if cfg.TEST.EVAL_PERIOD < 1:
        yield Problem(where, "needs evaluations during training: set TEST.EVAL_PERIOD")


def _judge_options(job: Job, cfg: CfgNode) -> Iterator[Problem]:
    yield from _judge_early_stopping(job, cfg)
    options, where = job.spec.training, "spec.training"
    if options.precision == "float16" and cfg.MODEL.DEVICE == "cpu":
        yield Problem(
            f"{where}.precision", "float16 needs a GPU and this process sees none; bfloat16 does not"
        )
    if options.compile_backbone and (missing := missing_compiler(cfg.MODEL.DEVICE)) is not None:
        yield Problem(f"{where}.compileBackbone", f"needs {missing}, and this image has none")
    if options.profile is not None and options.profile.start_iteration >= cfg.SOLVER.MAX_ITER:
        yield Problem(
            f"{where}.profile.startIteration",
            f"{options.profile.start_iteration} is not before SOLVER.MAX_ITER {cfg.SOLVER.MAX_ITER}",
        )


def _judge_own_trainer(job: Job) -> Iterator[Problem]:
    """Fields that only our loop honours."""
    if job.spec.checkpoint.best is not None:
        yield Problem("spec.checkpoint.best", f"{_OURS_ALONE}; in yours BestCheckpointer does it")
    if job.spec.checkpoint.asynchronous:
        yield Problem("spec.checkpoint.asynchronous", _OURS_ALONE)
    if job.spec.mapper is not None:
        yield Problem("spec.mapper", f"{_OURS_ALONE}; yours builds its data loaders itself")
    for name, value in job.spec.evaluation:
        if value:
            yield Problem(f"spec.evaluation.{name}", _OURS_ALONE)
    for name in job.spec.training.asked_for():
        yield Problem(f"spec.training.{name}", _OURS_ALONE)


def _judge_our_loop(cfg: CfgNode) -> Iterator[Problem]:
    """Settings that a trainer of the user's own may take and our loop does not."""
    if cfg.DATALOADER.SAMPLER_TRAIN not in SAMPLERS:
        yield Problem(
            WHERE, f"DATALOADER.SAMPLER_TRAIN {cfg.DATALOADER.SAMPLER_TRAIN} is none of {', '.join(SAMPLERS)}"
        )
    if cfg.TEST.AUG.ENABLED and (cfg.MODEL.KEYPOINT_ON or cfg.MODEL.LOAD_PROPOSALS):
        yield Problem(WHERE, "TEST.AUG.ENABLED goes with neither MODEL.KEYPOINT_ON nor MODEL.LOAD_PROPOSALS")
    if cfg.TEST.AUG.ENABLED and not _is_rcnn(cfg.MODEL.META_ARCHITECTURE):
        yield Problem(WHERE, f"TEST.AUG.ENABLED needs a GeneralizedRCNN, not a {cfg.MODEL.META_ARCHITECTURE}")
    if cfg.TEST.EXPECTED_RESULTS:
        yield Problem(WHERE, "TEST.EXPECTED_RESULTS is not supported")
    for name in cfg.DATASETS.TEST:
        if (wanted := evaluator_type(name)) not in EVALUATORS:
            known = ", ".join(EVALUATORS)
            yield Problem(WHERE, f"DATASETS.TEST {name} wants the evaluator {wanted}, none of {known}")


def _is_rcnn(architecture: str) -> bool:
    return architecture in META_ARCH_REGISTRY and issubclass(
        META_ARCH_REGISTRY.get(architecture), GeneralizedRCNN
    )


def _judge_dataset_names(cfg: CfgNode, evaluation: EvaluationOptions) -> Iterator[Problem]:
    for split in ("TRAIN", "TEST"):
        for name in cfg.DATASETS[split]:
            if name not in DatasetCatalog:
                yield Problem(
                    WHERE, f"DATASETS.{split} names {name}, which is not registered; is a plugin missing?"
                )
    if not cfg.DATASETS.TRAIN and not evaluation.only:
        yield Problem(WHERE, "DATASETS.TRAIN is empty")
    if not cfg.DATASETS.TEST and (evaluation.only or evaluation.loss):
        yield Problem("spec.evaluation", "needs a dataset with split test (DATASETS.TEST)")
