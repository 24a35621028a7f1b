"""Datasets that contradict the config, each other, or what is on the volume."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.config import CfgNode

from detectron_trainer.failures import Problem
from detectron_trainer.job.manifest import Dataset, Job
from detectron_trainer.job.pod import Mounts
from detectron_trainer.preflight.annotations import CocoFile, read_coco
from detectron_trainer.preflight.images import Search, find_missing
from detectron_trainer.preflight.settings import WHERE
from detectron_trainer.preflight.survey import Some, Survey, survey

CLASS_COUNTS = {
    "GeneralizedRCNN": "ROI_HEADS",
    "PanopticFPN": "ROI_HEADS",
    "RetinaNet": "RETINANET",
}
"""The section of MODEL that holds NUM_CLASSES, by meta-architecture; a plugin's own is not judged."""

_SAMPLE = 5
_NAMED = 5


class DataCheck(Enum):
    """How closely to look: at no data, at annotations and a few images, or at all that is there."""

    NONE = auto()
    SAMPLE = auto()
    WHOLE = auto()


@dataclass(frozen=True)
class DatasetReport:
    """What was found out about the dataset at `where` in the manifest, with `sought` images looked for."""

    where: str
    dataset: Dataset
    survey: Survey
    sought: int


@dataclass(frozen=True)
class DataFindings:
    """Problems keep a job from training as it should; warnings may be meant."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    reports: tuple[DatasetReport, ...] = ()


def judge_data(job: Job, cfg: CfgNode, mounts: Mounts, check: DataCheck) -> DataFindings:
    """Read the annotations of the manifest's datasets and look for their images, as `check` says."""
    problems: list[Problem] = []
    warnings: list[Problem] = []
    reports: list[DatasetReport] = []
    for index, dataset in enumerate(job.spec.datasets if check is not DataCheck.NONE else ()):
        where = f"spec.datasets[{index}]"
        file = read_coco(mounts.locate(dataset.annotations), f"{where}.annotations", problems)
        if file is None:
            continue
        sought = _look_for_images(file, dataset, mounts.locate(dataset.images), where, check, problems)
        report = DatasetReport(where, dataset, survey(file), sought)
        reports.append(report)
        problems += _judge_annotations(report, cfg)
        warnings += _doubt_annotations(report, cfg)
        if cfg.MODEL.KEYPOINT_ON:
            problems += _judge_keypoints(report, cfg)
    problems += _compare_categories(reports)
    return DataFindings(tuple(problems), tuple(warnings), tuple(reports))


def _look_for_images(
    file: CocoFile, dataset: Dataset, folder: Path, where: str, check: DataCheck, problems: list[Problem]
) -> int:
    """Note the images that are missing; returns how many were looked for."""
    field = f"{where}.images"
    names = [image.file_name for image in file.images]
    if not folder.is_dir():
        problems.append(Problem(field, f"the folder {dataset.images} does not exist"))
        return 0
    try:
        search = find_missing(folder, names if check is DataCheck.WHOLE else names[:_SAMPLE])
    except OSError as error:
        problems.append(Problem(field, f"the images in {dataset.images} cannot be listed: {error}"))
        return 0
    if search.missing:
        problems.append(Problem(field, f"{dataset.images} does not hold {_enumerate(search)}"))
    return search.sought


def _enumerate(search: Search) -> str:
    named, rest = search.missing[:_NAMED], len(search.missing) - _NAMED
    more = f" and {rest} more of the {search.sought} looked for" if rest > 0 else ""
    return ", ".join(named) + more


def _judge_annotations(report: DatasetReport, cfg: CfgNode) -> Iterator[Problem]:
    where, found = f"{report.where}.annotations", report.survey
    section = CLASS_COUNTS.get(cfg.MODEL.META_ARCHITECTURE)
    if section is not None and len(found.classes) != cfg.MODEL[section].NUM_CLASSES:
        yield Problem(
            where,
            f"has {len(found.classes)} categories, but MODEL.{section}.NUM_CLASSES is "
            f"{cfg.MODEL[section].NUM_CLASSES}",
        )
    faults = {
        "image ids stand for several images": found.repeated_images,
        "annotation ids stand for several annotations": found.repeated_annotations,
        "category ids stand for several categories": found.repeated_categories,
        "annotations are of no category of the file": found.uncategorised,
        "boxes have nothing inside their image": found.outside,
    }
    if cfg.MODEL.MASK_ON:
        faults["instances have no segmentation, but MODEL.MASK_ON is set"] = found.without_outline
    yield from _note(where, faults)


def _doubt_annotations(report: DatasetReport, cfg: CfgNode) -> Iterator[Problem]:
    where, found = f"{report.where}.annotations", report.survey
    doubts = {
        "annotations are of an image that the file does not list, and are left out": found.homeless,
        "boxes have no area, and are left out": found.flat,
        "boxes reach out of their image, and are clipped (bbox is [left, top, width, height])": found.clipped,
    }
    yield from _note(where, doubts)
    unseen = [one.name for one in found.classes if not one.instances]
    if report.dataset.split == "train" and unseen:
        yield Problem(where, f"has no instance of {', '.join(unseen[:_NAMED])}{_and_more(len(unseen))}")


def _note(where: str, kinds: dict[str, Some]) -> Iterator[Problem]:
    for what, some in kinds.items():
        if some.count:
            yield Problem(where, f"{some.count} {what}; the first: {some.first}")


def _and_more(count: int) -> str:
    return f" and {count - _NAMED} more" if count > _NAMED else ""


def _judge_keypoints(report: DatasetReport, cfg: CfgNode) -> Iterator[Problem]:
    dataset, found, where = report.dataset, report.survey, f"{report.where}.annotations"
    head, sigmas = cfg.MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS, cfg.TEST.KEYPOINT_OKS_SIGMAS
    names = len(dataset.keypoints.names) if dataset.keypoints else 17
    known = (
        f"keypoints.names has {names}" if dataset.keypoints else "without a keypoints field a person has 17"
    )
    if not found.keypoints:
        yield Problem(where, "has no keypoints, but MODEL.KEYPOINT_ON is set")
    for length in sorted(found.keypoints.keys() - {names}):
        yield Problem(where, f"{found.keypoints[length]} instances have {length} keypoints; {known}")
    yield from _note(where, {"instances have keypoints that are no list of numbers": found.bad_keypoints})
    if names != head:
        yield Problem(
            f"{report.where}.keypoints",
            f"has {names} names, but MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS is {head}",
        )
    if sigmas and len(sigmas) != head:
        yield Problem(WHERE, f"TEST.KEYPOINT_OKS_SIGMAS has {len(sigmas)} values for {head} keypoints")


def _compare_categories(reports: list[DatasetReport]) -> Iterator[Problem]:
    if not reports:
        return
    names = [tuple(one.name for one in report.survey.classes) for report in reports]
    for report, categories in zip(reports, names, strict=True):
        if categories != names[0]:
            yield Problem(f"{report.where}.annotations", f"has other categories than {reports[0].where}")
