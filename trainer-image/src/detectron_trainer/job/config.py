"""The manifest's `config`, `weights` and `datasets` merged into one Detectron2 config; notes every problem.

Order: the base, the inline yaml's own ``_BASE_``, the inline yaml, weights, datasets, overrides. A config key
that does not exist or a value of the wrong type is noted with its place in the manifest and merging goes on.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

import detectron2
import yaml
from detectron2.config import CfgNode, get_cfg

from detectron_trainer.failures import Problem
from detectron_trainer.job.manifest import Job
from detectron_trainer.job.pod import Mounts
from detectron_trainer.job.weight_source import resolve

ZOO = Path(detectron2.__file__).parent / "model_zoo" / "configs"
BASE_KEY = "_BASE_"
OURS = {
    "OUTPUT_DIR": "is set from spec.output",
    "DATASETS.TRAIN": "is set from spec.datasets; a plugin's dataset is named in spec.config.overrides",
    "DATASETS.TEST": "is set from spec.datasets; a plugin's dataset is named in spec.config.overrides",
}
"""Keys that the inline yaml cannot set, because its value would be replaced without a word.

Without datasets in the manifest their names are the config's.
"""


class ConfigBuilder:
    """Merges one source after another into a config and collects what cannot be merged.

    Attributes:
        cfg: the config so far.
        problems: what was wrong, with its place in the manifest.
    """

    def __init__(self, mounts: Mounts, reserved: Mapping[str, str] = OURS) -> None:
        self.cfg: CfgNode = get_cfg()
        self.problems: list[Problem] = []
        self._mounts = mounts
        self._reserved = reserved

    def merge_file(self, name: str, where: str) -> None:
        """Merge a config of the model zoo or, by its absolute path, a file with all that it is based on."""
        path = self._mounts.locate(name) if name.startswith("/") else ZOO / name
        if path.suffix == ".py":
            self._note(where, f"{name} is a Lazy config; a yaml config is needed")
        elif not path.is_file():
            self._note(where, f"{name} does not exist" if name.startswith("/") else _not_in_zoo(name))
        else:
            try:
                # As on Detectron2's command line a file may hold yaml that evaluates: one of the zoo's does.
                tree = CfgNode.load_yaml_with_base(str(path), allow_unsafe=True)
            except (OSError, AssertionError, yaml.YAMLError, TypeError) as error:
                self._note(where, f"{name} cannot be loaded: {error}")
                return
            reserved = {"OUTPUT_DIR"} if name.startswith("/") else set()
            self._merge(tree, where, reserved)

    def merge_inline(self, text: str, where: str) -> None:
        """Merge yaml, read by the safe loader; a ``_BASE_`` in it is of the zoo or an absolute path."""
        try:
            tree = yaml.safe_load(text)
        except yaml.YAMLError as error:
            self._note(where, f"is not plain yaml: {error}")
            return
        if tree is None:
            return
        if not isinstance(tree, dict):
            self._note(where, f"must be a mapping of config keys, not {type(tree).__name__}")
            return
        bases = tree.pop(BASE_KEY, [])
        for base in [bases] if isinstance(bases, str) else bases:
            self.merge_file(str(base), f"{where}.{BASE_KEY}")
        self._merge(tree, where, self._reserved)

    def merge_override(self, text: str, where: str) -> None:
        """Merge one "KEY VALUE"; a value that is no Python literal is a string."""
        name, value = text.split(maxsplit=1)
        if name == "OUTPUT_DIR":
            self._note(where, f"{name} {OURS[name]}")
        else:
            self._set(name, value.strip(), where)

    def place_weights(self, where: str) -> None:
        """Make MODEL.WEIGHTS a local path, a URL, or empty."""
        model = self.cfg.MODEL
        try:
            model.WEIGHTS = resolve(model.WEIGHTS)
        except ValueError as error:
            self._note(where, str(error))
        if model.WEIGHTS.startswith("/"):
            model.WEIGHTS = str(self._mounts.locate(model.WEIGHTS))

    def _merge(self, tree: Mapping[str, object], where: str, reserved: set[str] | Mapping[str, str]) -> None:
        for name, value in _leaves(tree, self.cfg):
            if name in reserved:
                self._note(where, f"{name} {OURS[name]}")
            elif name == "VERSION" and value != self.cfg.VERSION:
                self._note(where, f"is a config of VERSION {value}; version {self.cfg.VERSION} is needed")
            else:
                self._set(name, value, where)

    def _set(self, name: str, value: object, where: str) -> None:
        try:
            self.cfg.merge_from_other_cfg(CfgNode(_nested(name, value)))
        except KeyError as error:
            renamed = "renamed" in str(error)
            self._note(
                where, str(error.args[0]) if renamed else f"unknown key {name}{self._suggestion(name)}"
            )
        except ValueError:
            self._note(where, f"{name} {_type_mismatch(_lookup(self.cfg, name), value)}")
        except AssertionError as error:
            self._note(where, f"{name} cannot be set to {value!r}: {error}")

    def _suggestion(self, name: str) -> str:
        closest = difflib.get_close_matches(name, list(_names(self.cfg)), n=1, cutoff=0.7)
        return f", did you mean {closest[0]}?" if closest else ""

    def _note(self, where: str, message: str) -> None:
        self.problems.append(Problem(where, message))


def base_config(job: Job, mounts: Mounts) -> CfgNode:
    """The config that `job` is based on, as far as it can be read."""
    builder = ConfigBuilder(mounts)
    builder.merge_file(job.spec.config.base, "spec.config.base")
    return builder.cfg


def merge_config(job: Job, output: Path, mounts: Mounts, *, gpus: bool) -> tuple[CfgNode, list[Problem]]:
    """The config of `job`, whose checkpoints go to `output`, and what is wrong with it as yaml.

    `gpus` tells whether there are some to train on.
    """
    config, datasets = job.spec.config, job.spec.datasets
    builder = ConfigBuilder(mounts, OURS if datasets else {"OUTPUT_DIR": OURS["OUTPUT_DIR"]})
    builder.merge_file(config.base, "spec.config.base")
    builder.merge_inline(config.inline, "spec.config.inline")
    cfg = builder.cfg
    weights = job.spec.weights
    if weights is not None:
        cfg.MODEL.WEIGHTS = weights.source or ""
    for split in ("train", "test") if datasets else ():
        cfg.DATASETS[split.upper()] = tuple(data.name for data in datasets if data.split == split)
    for index, override in enumerate(config.overrides):
        builder.merge_override(override, f"spec.config.overrides[{index}]")
    sigmas = next((data.keypoints.sigmas for data in datasets if data.keypoints), ())
    if cfg.MODEL.KEYPOINT_ON and not cfg.TEST.KEYPOINT_OKS_SIGMAS:
        cfg.TEST.KEYPOINT_OKS_SIGMAS = list(sigmas)
    builder.place_weights("spec.weights.source" if weights is not None else "spec.config")
    if not gpus:
        cfg.MODEL.DEVICE = "cpu"
    cfg.OUTPUT_DIR = str(output)
    return cfg, builder.problems


def _leaves(tree: Mapping[str, object], node: CfgNode, prefix: str = "") -> Iterator[tuple[str, object]]:
    """The dotted names and values in `tree`, down to where `node` has values and not sections."""
    for key, value in tree.items():
        section = node.get(key)
        if isinstance(value, dict) and value and isinstance(section, CfgNode):
            yield from _leaves(value, section, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _names(node: CfgNode, prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, CfgNode):
            yield from _names(value, f"{prefix}{key}.")


def _nested(name: str, value: object) -> dict[str, object]:
    *sections, key = name.split(".")
    tree: dict[str, object] = {key: value}
    for section in reversed(sections):
        tree = {section: tree}
    return tree


def _lookup(cfg: CfgNode, name: str) -> object:
    value: object = cfg
    for key in name.split("."):
        if not isinstance(value, CfgNode):
            break
        value = value.get(key)
    return value


def _type_mismatch(current: object, value: object) -> str:
    if isinstance(current, CfgNode):
        return f"is a section of keys and cannot be set to {value!r}"
    return f"must be of type {type(current).__name__}, such as {current!r}, not {value!r}"


def _not_in_zoo(name: str) -> str:
    zoo = sorted(str(path.relative_to(ZOO)) for path in ZOO.rglob("*.yaml"))
    closest = difflib.get_close_matches(name, zoo, n=1)
    hint = (
        f", did you mean {closest[0]}?" if closest else "; a file of your own is named by its absolute path"
    )
    return f"{name} is not in Detectron2's model zoo{hint}"
