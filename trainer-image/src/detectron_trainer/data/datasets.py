"""The manifest's COCO-format datasets under their names in Detectron2's catalog."""

from __future__ import annotations

from collections.abc import Iterable

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.data.datasets.builtin_meta import COCO_PERSON_KEYPOINT_FLIP_MAP, COCO_PERSON_KEYPOINT_NAMES

from detectron_trainer.failures import Problem
from detectron_trainer.job.manifest import Dataset
from detectron_trainer.job.pod import Mounts


def register(datasets: Iterable[Dataset], mounts: Mounts) -> list[Problem]:
    """Register each dataset, without reading it; returns one problem for each name that is taken."""
    problems = []
    for index, dataset in enumerate(datasets):
        if dataset.name not in DatasetCatalog:
            annotations, images = mounts.locate(dataset.annotations), mounts.locate(dataset.images)
            register_coco_instances(dataset.name, keypoint_metadata(dataset), str(annotations), str(images))
        elif MetadataCatalog.get(dataset.name).get("json_file") != str(mounts.locate(dataset.annotations)):
            message = f"{dataset.name} is registered already, by Detectron2 or a plugin: choose another name"
            problems.append(Problem(f"spec.datasets[{index}].name", message))
    return problems


def keypoint_metadata(dataset: Dataset) -> dict[str, object]:
    """Names and mirrored pairs of the keypoints, COCO's seventeen of a person where none are declared."""
    keypoints = dataset.keypoints
    if keypoints is None:
        return {
            "keypoint_names": list(COCO_PERSON_KEYPOINT_NAMES),
            "keypoint_flip_map": list(COCO_PERSON_KEYPOINT_FLIP_MAP),
        }
    return {"keypoint_names": list(keypoints.names), "keypoint_flip_map": list(keypoints.flip_map)}
