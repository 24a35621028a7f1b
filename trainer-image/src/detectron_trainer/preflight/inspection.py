"""Everything that only Detectron2 can judge about a job, before it trains: all problems at once."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.engine import DefaultTrainer
from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN

from detectron_trainer.data.datasets import register
from detectron_trainer.data.sampler import SAMPLERS
from detectron_trainer.evaluation.evaluators import EVALUATORS, evaluator_type
from detectron_trainer.failures import Problem
from detectron_trainer.job.config import merge_config
from detectron_trainer.job.manifest import Dataset, Job
from detectron_trainer.job.pod import Mounts
from detectron_trainer.job.user_code import judge
from detectron_trainer.preflight.annotations import Annotations, read_annotations

CLASS_COUNTS = {
    "GeneralizedRCNN": "ROI_HEADS",
    "PanopticFPN": "ROI_HEADS",
    "RetinaNet": "RETINANET",
}
"""The section of MODEL that holds NUM_CLASSES, by meta-architecture; a plugin's own is not judged."""

WHERE = "spec.config"
OURS_ALONE = "is of our own loop, which spec.trainer replaces"


def inspect(
    job: Job, output: Path, mounts: Mounts, world_size: int, *, read_data: bool = True
) -> tuple[CfgNode, list[Problem]]:
    """Import the plugins, register the datasets and build the config; returns it with all problems.

    `read_data` leaves the annotation files alone where another process of the node reads them.
    """
    extend_python_path(job, mounts)
    problems = import_plugins(job.spec.plugins)
    problems += _judge_references(job)
    problems += register(job.spec.datasets, mounts)
    cfg, config_problems = merge_config(job, output, mounts)
    problems += config_problems
    try:
        cfg = DefaultTrainer.auto_scale_workers(cfg, world_size)
    except AssertionError as error:
        problems.append(
            Problem(WHERE, f"SOLVER.REFERENCE_WORLD_SIZE {cfg.SOLVER.REFERENCE_WORLD_SIZE}: {error}")
        )
    problems += _judge_settings(cfg, world_size)
    if job.spec.trainer is None:
        problems += [*_judge_our_loop(cfg), *_judge_best(job, cfg), *_judge_options(job, cfg, world_size)]
    else:
        problems += _judge_own_trainer(job)
    if read_data:
        problems += _judge_data(job, cfg, mounts)
    cfg.freeze()
    return cfg, problems


def extend_python_path(job: Job, mounts: Mounts) -> None:
    """Let modules be found where the job's own PYTHONPATH says, also on a machine without its mounts."""
    for variable in job.spec.env:
        if variable.name == "PYTHONPATH":
            folders = [str(mounts.locate(folder)) for folder in variable.value.split(":")]
            sys.path += [folder for folder in folders if folder not in sys.path]


def _judge_references(job: Job) -> list[Problem]:
    spec = job.spec
    references = {"spec.trainer": spec.trainer, "spec.mapper": spec.mapper}
    references |= {f"spec.metrics.writers[{index}]": name for index, name in enumerate(spec.metrics.writers)}
    return [
        problem for where, name in references.items() if name is not None for problem in judge(name, where)
    ]


def import_plugins(modules: Sequence[str]) -> list[Problem]:
    """Import each module; whatever it raises is the plugin's problem."""
    problems = []
    for index, module in enumerate(modules):
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's code may raise anything
            message = f"{module} cannot be imported: {type(error).__name__}: {error}"
            problems.append(Problem(f"spec.plugins[{index}]", message))
    return problems


def _judge_settings(cfg: CfgNode, world_size: int) -> Iterator[Problem]:
    batch, architecture = cfg.SOLVER.IMS_PER_BATCH, cfg.MODEL.META_ARCHITECTURE
    for key in ("IMS_PER_BATCH", "MAX_ITER", "CHECKPOINT_PERIOD"):
        if cfg.SOLVER[key] < 1:
            yield Problem(WHERE, f"SOLVER.{key} must be at least 1, not {cfg.SOLVER[key]}")
    if batch % world_size:
        yield Problem(
            WHERE,
            f"SOLVER.IMS_PER_BATCH {batch} is the batch of all processes together and must be divisible by "
            f"their number, {world_size}",
        )
    if architecture not in META_ARCH_REGISTRY:
        known = ", ".join(sorted(name for name, _ in META_ARCH_REGISTRY))
        yield Problem(
            WHERE, f"MODEL.META_ARCHITECTURE {architecture} is none of {known}; is a plugin missing?"
        )
    if cfg.SOLVER.AMP.ENABLED and cfg.MODEL.DEVICE == "cpu":
        yield Problem(WHERE, "SOLVER.AMP.ENABLED needs a GPU, and this process sees none")
    if cfg.VIS_PERIOD > 0 and importlib.util.find_spec("matplotlib") is None:
        yield Problem(WHERE, "VIS_PERIOD needs matplotlib, which this image does not have")
    if cfg.MODEL.WEIGHTS.startswith("/") and not Path(cfg.MODEL.WEIGHTS).is_file():
        yield Problem("spec.weights", f"{cfg.MODEL.WEIGHTS} (MODEL.WEIGHTS) does not exist")
    yield from _judge_dataset_names(cfg)


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


def _judge_options(job: Job, cfg: CfgNode, world_size: int) -> Iterator[Problem]:
    yield from _judge_early_stopping(job, cfg)
    options, where = job.spec.training, "spec.training"
    images, parts = cfg.SOLVER.IMS_PER_BATCH // world_size, options.gradient_accumulation
    if images % parts:
        yield Problem(
            f"{where}.gradientAccumulation",
            f"{parts} parts cannot be made of {images} images a process",
        )
    if options.precision == "float16" and cfg.MODEL.DEVICE == "cpu":
        yield Problem(
            f"{where}.precision", "float16 needs a GPU and this process sees none; bfloat16 does not"
        )


def _judge_own_trainer(job: Job) -> Iterator[Problem]:
    """Fields that only our loop honours."""
    if job.spec.checkpoint.best is not None:
        yield Problem("spec.checkpoint.best", f"{OURS_ALONE}; in yours BestCheckpointer does it")
    if job.spec.mapper is not None:
        yield Problem("spec.mapper", f"{OURS_ALONE}; yours builds its data loaders itself")
    for name in job.spec.training.asked_for():
        yield Problem(f"spec.training.{name}", OURS_ALONE)


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


def _judge_dataset_names(cfg: CfgNode) -> Iterator[Problem]:
    for split in ("TRAIN", "TEST"):
        for name in cfg.DATASETS[split]:
            if name not in DatasetCatalog:
                yield Problem(
                    WHERE, f"DATASETS.{split} names {name}, which is not registered; is a plugin missing?"
                )
    if not cfg.DATASETS.TRAIN:
        yield Problem(WHERE, "DATASETS.TRAIN is empty")


def _judge_data(job: Job, cfg: CfgNode, mounts: Mounts) -> list[Problem]:
    problems: list[Problem] = []
    categories: dict[str, tuple[str, ...]] = {}
    for index, dataset in enumerate(job.spec.datasets):
        where = f"spec.datasets[{index}]"
        annotations = read_annotations(mounts.locate(dataset.annotations), f"{where}.annotations", problems)
        if annotations is None:
            continue
        categories[where] = annotations.categories
        problems += _judge_images(annotations, dataset, mounts.locate(dataset.images), where)
        problems += _judge_class_count(annotations, cfg, where)
        if cfg.MODEL.KEYPOINT_ON:
            problems += _judge_keypoints(annotations, dataset, cfg, where)
    distinct = set(categories.values())
    if len(distinct) > 1:
        first = next(iter(categories))
        strangers = [where for where, names in categories.items() if names != categories[first]]
        problems += [
            Problem(f"{where}.annotations", f"has other categories than {first}") for where in strangers
        ]
    return problems


def _judge_images(annotations: Annotations, dataset: Dataset, folder: Path, where: str) -> Iterator[Problem]:
    if not folder.is_dir():
        yield Problem(f"{where}.images", f"the folder {dataset.images} does not exist")
        return
    # The first images tell a wrong folder from a right one; to look for all would take minutes on a network.
    missing = [name for name in annotations.images if not (folder / name).is_file()]
    if missing:
        yield Problem(f"{where}.images", f"{dataset.images} does not hold {', '.join(missing)}")


def _judge_class_count(annotations: Annotations, cfg: CfgNode, where: str) -> Iterator[Problem]:
    section = CLASS_COUNTS.get(cfg.MODEL.META_ARCHITECTURE)
    count = len(annotations.categories)
    if section is not None and count != cfg.MODEL[section].NUM_CLASSES:
        yield Problem(
            f"{where}.annotations",
            f"has {count} categories, but MODEL.{section}.NUM_CLASSES is {cfg.MODEL[section].NUM_CLASSES}",
        )


def _judge_keypoints(
    annotations: Annotations, dataset: Dataset, cfg: CfgNode, where: str
) -> Iterator[Problem]:
    head, sigmas = cfg.MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS, cfg.TEST.KEYPOINT_OKS_SIGMAS
    names = len(dataset.keypoints.names) if dataset.keypoints else 17
    if annotations.keypoints is None:
        yield Problem(f"{where}.annotations", "has no keypoints, but MODEL.KEYPOINT_ON is set")
    elif annotations.keypoints != names:
        known = "keypoints.names has" if dataset.keypoints else "without a keypoints field a person has"
        yield Problem(
            f"{where}.annotations", f"has {annotations.keypoints} keypoints an instance; {known} {names}"
        )
    if names != head:
        yield Problem(
            f"{where}.keypoints", f"has {names} names, but MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS is {head}"
        )
    if sigmas and len(sigmas) != head:
        yield Problem(WHERE, f"TEST.KEYPOINT_OKS_SIGMAS has {len(sigmas)} values for {head} keypoints")
