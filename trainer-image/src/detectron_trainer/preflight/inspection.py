"""Everything that only Detectron2 can judge about a job, before it trains: all problems at once."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer

from detectron_trainer.data.datasets import register
from detectron_trainer.failures import InvalidConfigError, Problem
from detectron_trainer.job.config import base_config, merge_config
from detectron_trainer.job.lazy_config import in_lazy_words, is_lazy, load_lazy_config, settings
from detectron_trainer.job.manifest import Job
from detectron_trainer.job.pod import Mounts
from detectron_trainer.job.user_code import judge
from detectron_trainer.preflight.data import DataCheck, DatasetReport, judge_data
from detectron_trainer.preflight.schedule import count_training_images, doubt_schedule
from detectron_trainer.preflight.settings import WHERE, judge_settings
from detectron_trainer.recipe.lazy_recipe import LazyRecipe
from detectron_trainer.recipe.recipe import Recipe
from detectron_trainer.recipe.yaml_recipe import YamlRecipe


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The config that the job trains with, and what was found.

    Attributes:
        recipe: builds what the config describes.
        problems: what keeps the job from training.
        warnings: what does not, and is probably not meant.
        datasets: one report for each dataset of the manifest that could be read.
        training_images: None where that is not known.
    """

    cfg: CfgNode
    recipe: Recipe
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    datasets: tuple[DatasetReport, ...]
    training_images: int | None

    @property
    def epochs(self) -> float | None:
        """How often each image is trained on, as a mean."""
        if not self.training_images:
            return None
        return float(self.cfg.SOLVER.MAX_ITER * self.cfg.SOLVER.IMS_PER_BATCH / self.training_images)


def inspect(
    job: Job, output: Path, mounts: Mounts, world_size: int, *, data: DataCheck, gpus: bool
) -> Inspection:
    """Import the plugins, register the datasets, build the config, and judge what was found.

    `gpus` tells whether the training processes have some, whatever this one has.
    """
    extend_python_path(job, mounts)
    problems = import_plugins(job.spec.plugins)
    problems += _judge_references(job)
    problems += register(job.spec.datasets, mounts)
    read = _read_lazy_config if is_lazy(job) else _read_yaml_config
    cfg, recipe, config_problems = read(job, output, mounts, gpus=gpus)
    problems += config_problems
    try:
        cfg = DefaultTrainer.auto_scale_workers(cfg, world_size)
    except AssertionError as error:
        problems.append(
            Problem(WHERE, f"SOLVER.REFERENCE_WORLD_SIZE {cfg.SOLVER.REFERENCE_WORLD_SIZE}: {error}")
        )
    problems += judge_settings(job, cfg, world_size)
    findings = judge_data(job, cfg, mounts, data)
    cfg.freeze()
    problems += findings.problems
    untold = is_lazy(job) or job.spec.evaluation.only
    doubts = () if untold else doubt_schedule(cfg, base_config(job, mounts))
    return Inspection(
        cfg=cfg,
        recipe=recipe,
        problems=tuple(sorted({in_lazy_words(one) if is_lazy(job) else one for one in problems})),
        warnings=tuple(sorted({*doubts, *findings.warnings})),
        datasets=findings.reports,
        training_images=count_training_images(cfg, findings.reports),
    )


def _read_yaml_config(
    job: Job, output: Path, mounts: Mounts, *, gpus: bool
) -> tuple[CfgNode, Recipe, list[Problem]]:
    cfg, problems = merge_config(job, output, mounts, gpus=gpus)
    return cfg, YamlRecipe(job.spec.mapper), problems


def _read_lazy_config(
    job: Job, output: Path, mounts: Mounts, *, gpus: bool
) -> tuple[CfgNode, Recipe, list[Problem]]:
    """All at once where the config can be read at all; nothing else can be judged where it cannot."""
    tree, problems = load_lazy_config(job, mounts)
    if tree is None:
        raise InvalidConfigError(problems)
    cfg, more = settings(tree, output, mounts, gpus=gpus)
    return cfg, LazyRecipe(tree), [*problems, *more]


def extend_python_path(job: Job, mounts: Mounts) -> None:
    """Let modules be found where the job has its code, also on a machine without the job's mounts."""
    own = [each.value for each in job.spec.env if each.name == "PYTHONPATH" and each.value is not None]
    wanted = [*(each.folder for each in job.spec.code), *(path for value in own for path in value.split(":"))]
    folders = [str(mounts.locate(folder)) for folder in wanted]
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
