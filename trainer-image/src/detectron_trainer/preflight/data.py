"""Datasets that contradict the config, each other, or what is on the volume."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.config import CfgNode

from detectron_trainer.failures import Problem
from detectron_trainer.job.manifest import Dataset, Job
from detectron_trainer.job.pod import Mounts
from detectron_trainer.preflight.annotations import Annotations, read_annotations
from detectron_trainer.preflight.settings import WHERE

CLASS_COUNTS = {
    "GeneralizedRCNN": "ROI_HEADS",
    "PanopticFPN": "ROI_HEADS",
    "RetinaNet": "RETINANET",
}
"""The section of MODEL that holds NUM_CLASSES, by meta-architecture; a plugin's own is not judged."""


def judge_data(job: Job, cfg: CfgNode, mounts: Mounts) -> list[Problem]:
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
