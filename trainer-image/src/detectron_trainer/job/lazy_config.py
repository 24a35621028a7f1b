"""A lazy config (``.py``) with the manifest's changes, and its settings in the words of yaml configs.

The file is the user's code: it runs in the trainer and nowhere else. Order as for yaml: the base, the inline
yaml, weights, datasets, overrides.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial, reduce
from pathlib import Path

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

import yaml
from detectron2.config import CfgNode, LazyConfig, get_cfg
from detectron2.data import build_detection_train_loader
from detectron2.data.detection_utils import create_keypoint_hflip_indices
from detectron2.evaluation import COCOEvaluator
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from detectron_trainer.failures import Problem
from detectron_trainer.job.config import ZOO
from detectron_trainer.job.manifest import Job
from detectron_trainer.job.pod import Mounts
from detectron_trainer.job.weight_source import resolve

BASE = "spec.config.base"
LOADER = {
    "_target_", "dataset", "mapper", "sampler", "total_batch_size", "aspect_ratio_grouping", "num_workers"
}  # fmt: skip
"""Arguments of Detectron2's training loader that our loop takes over."""
NEEDED = ("model", "optimizer", "lr_multiplier", "dataloader.train", "dataloader.test", "train.max_iter")
OURS = {
    "train.output_dir": "is set from spec.output",
    "train.log_period": "is set from spec.metrics.period",
    "train.checkpointer.max_to_keep": "is set from spec.checkpoint.keep",
}
SETTINGS = {
    "SOLVER.MAX_ITER": "train.max_iter",
    "SOLVER.CHECKPOINT_PERIOD": "train.checkpointer.period",
    "SOLVER.AMP.ENABLED": "train.amp.enabled",
    "SOLVER.BASE_LR": "optimizer.lr",
    "SOLVER.IMS_PER_BATCH": "dataloader.train.total_batch_size",
    "TEST.EVAL_PERIOD": "train.eval_period",
    "MODEL.WEIGHTS": "train.init_checkpoint",
    "MODEL.DEVICE": "train.device",
    "SEED": "train.seed",
    "CUDNN_BENCHMARK": "train.cudnn_benchmark",
    "DATALOADER.NUM_WORKERS": "dataloader.train.num_workers",
    "DATALOADER.ASPECT_RATIO_GROUPING": "dataloader.train.aspect_ratio_grouping",
    "DATALOADER.FILTER_EMPTY_ANNOTATIONS": "dataloader.train.dataset.filter_empty",
    "MODEL.ROI_HEADS.NUM_CLASSES": "model.roi_heads.num_classes",
    "MODEL.RETINANET.NUM_CLASSES": "model.num_classes",
}
"""Where a lazy config holds what our loop reads under the yaml config's name."""


def is_lazy(job: Job) -> bool:
    return job.spec.config.base.endswith(".py")


class LazyConfigBuilder:
    """Changes a lazy config by one source after another and collects what cannot be honoured."""

    def __init__(self, tree: DictConfig) -> None:
        self.tree = tree
        self.problems: list[Problem] = []

    def merge_inline(self, text: str, where: str) -> None:
        """Merge yaml, read by the safe loader."""
        try:
            changes = yaml.safe_load(text)
        except yaml.YAMLError as error:
            self._note(where, f"is not plain yaml: {error}")
            return
        if changes is not None and not isinstance(changes, dict):
            self._note(where, f"must be a mapping of config keys, not {type(changes).__name__}")
            return
        for name, value in _leaves(changes or {}):
            self._change(name, where, partial(OmegaConf.update, self.tree, name, value, merge=True))

    def merge_override(self, text: str, where: str) -> None:
        """Merge one "KEY VALUE", whose value follows Hydra's grammar as on Detectron2's command line."""
        name, value = text.split(maxsplit=1)
        self._change(name, where, partial(LazyConfig.apply_overrides, self.tree, [f"{name}={value}"]))

    def name_datasets(self, job: Job) -> None:
        """Train and evaluate on the manifest's datasets, which are registered, with their keypoints."""
        loader = self.tree.dataloader
        for split in ("train", "test"):
            names = [data.name for data in job.spec.datasets if data.split == split]
            loader[split].dataset.names = names
            mapper = loader[split].get("mapper")
            if split == "train" and mapper is not None and mapper.get("use_keypoint"):
                mapper.keypoint_hflip_indices = create_keypoint_hflip_indices(names).tolist()
        sigmas = next((data.keypoints.sigmas for data in job.spec.datasets if data.keypoints), None)
        nodes = loader.get("evaluator", [])
        for node in [nodes] if isinstance(nodes, DictConfig) else nodes:
            if sigmas is not None and node["_target_"] is COCOEvaluator:
                node.kpt_oks_sigmas = list(sigmas)

    def judge(self, job: Job) -> None:
        """Note what our loop does not take over from a lazy config."""
        train = self.tree.dataloader.train
        if train.get("_target_") is not build_detection_train_loader:
            self._note(BASE, "dataloader.train must be a call of Detectron2's build_detection_train_loader")
        for key in train.keys() - LOADER:
            self._note(BASE, f"dataloader.train.{key} is not supported: {', '.join(sorted(LOADER))} are")
        if OmegaConf.select(self.tree, "train.ddp.broadcast_buffers"):
            self._note(BASE, "train.ddp.broadcast_buffers is not supported: buffers are shared before saves")
        if job.spec.mapper is not None:
            self._note("spec.mapper", "is for a yaml config; in a lazy one it is dataloader.train.mapper")
        if job.spec.trainer is not None:
            self._note("spec.trainer", "is for a yaml config; a lazy one can only be trained by our own loop")

    def _change(self, name: str, where: str, change: Callable[[], object]) -> None:
        if name in OURS:
            self._note(where, f"{name} {OURS[name]}")
        elif not self._is_known(name):
            self._note(where, f"unknown key {name}{self._suggestion(name)}")
        else:
            try:
                change()
            except (OmegaConfBaseException, HydraException, KeyError, NotImplementedError) as error:
                self._note(where, f"{name} cannot be set: {error}")

    def _is_known(self, name: str) -> bool:
        """Whether the config has `name`, or it is an argument of a call that the config has."""
        parent, _, key = name.rpartition(".")
        node = OmegaConf.select(self.tree, parent) if parent else self.tree
        if isinstance(node, ListConfig):
            return key.isdecimal() and int(key) < len(node)
        if not isinstance(node, DictConfig):
            return False
        target = node.get("_target_")
        if key in node or not callable(target):
            return key in node
        arguments = inspect.signature(target).parameters
        return key in arguments or any(one.kind is one.VAR_KEYWORD for one in arguments.values())

    def _suggestion(self, name: str) -> str:
        known = [known for known, _ in _leaves(OmegaConf.to_container(self.tree, resolve=False))]
        closest = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
        return f", did you mean {closest[0]}?" if closest else ""

    def _note(self, where: str, message: str) -> None:
        self.problems.append(Problem(where, message))


def load_lazy_config(job: Job, mounts: Mounts) -> tuple[DictConfig | None, list[Problem]]:
    """The lazy config of `job`, None where there is none to train by, and what is wrong with it."""
    config = job.spec.config
    path = mounts.locate(config.base) if config.base.startswith("/") else ZOO / config.base
    try:
        tree = LazyConfig.load(str(path))
    except FileNotFoundError:
        return None, [Problem(BASE, f"{config.base} does not exist")]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's code may raise anything
        return None, [Problem(BASE, f"{config.base} cannot be loaded: {type(error).__name__}: {error}")]
    missing = [name for name in NEEDED if OmegaConf.select(tree, name) is None]
    if missing:
        return None, [Problem(BASE, f"{config.base} has no {', '.join(missing)}")]
    builder = LazyConfigBuilder(tree)
    builder.merge_inline(config.inline, "spec.config.inline")
    if job.spec.weights is not None:
        tree.train.init_checkpoint = job.spec.weights.source or ""
    if job.spec.datasets:
        builder.name_datasets(job)
    for index, override in enumerate(config.overrides):
        builder.merge_override(override, f"spec.config.overrides[{index}]")
    builder.judge(job)
    return tree, builder.problems


def settings(tree: DictConfig, output: Path, mounts: Mounts, *, gpus: bool) -> tuple[CfgNode, list[Problem]]:
    """What our loop reads, under the names of yaml configs, and which values it cannot take."""
    cfg, problems = get_cfg(), []
    cfg.SOLVER.STEPS, cfg.SOLVER.WARMUP_ITERS = (), 0
    for name, where in SETTINGS.items():
        value = OmegaConf.select(tree, where)
        section = reduce(getattr, name.split(".")[:-1], cfg)
        key = name.rsplit(".", 1)[-1]
        kind = type(section[key])
        if kind is float and type(value) is int:
            value = float(value)
        if value is not None and type(value) is not kind:
            problems.append(Problem("spec.config", f"{where} must be of type {kind.__name__}, not {value!r}"))
        elif value is not None:
            section[key] = value
    for split in ("train", "test"):
        names = OmegaConf.select(tree, f"dataloader.{split}.dataset.names") or ()
        cfg.DATASETS[split.upper()] = (names,) if isinstance(names, str) else tuple(names)
    cfg.MODEL.META_ARCHITECTURE = _architecture(tree)
    try:
        weights = resolve(cfg.MODEL.WEIGHTS)
    except ValueError as error:
        problems.append(Problem("spec.config", f"train.init_checkpoint: {error}"))
    else:
        cfg.MODEL.WEIGHTS = str(mounts.locate(weights)) if weights.startswith("/") else weights
    if not gpus:
        cfg.MODEL.DEVICE = "cpu"
    cfg.OUTPUT_DIR = str(output)
    return cfg, problems


def in_lazy_words(problem: Problem) -> Problem:
    """`problem` with a lazy config's names of settings in place of a yaml config's."""
    message = problem.message
    for name, lazy in SETTINGS.items():
        message = message.replace(name, lazy)
    return Problem(problem.path, message)


def _architecture(tree: DictConfig) -> str:
    """The model's class; empty where its number of classes is not where Detectron2's own models have it."""
    target = tree.model.get("_target_")
    name = target.rsplit(".", 1)[-1] if isinstance(target, str) else getattr(target, "__name__", "")
    place = "model.num_classes" if name == "RetinaNet" else "model.roi_heads.num_classes"
    return name if OmegaConf.select(tree, place) is not None else ""


def _leaves(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
