"""A dataset by a function, and a mapper with augmentations of its own; no COCO file is read.

Importing this module registers the datasets ``digit_scenes_train`` and ``digit_scenes_validation``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.detection_utils import annotations_to_instances, transform_instance_annotations
from detectron2.data.transforms import AugInput, AugmentationList, RandomBrightness, RandomContrast
from detectron2.structures import BoxMode

NAMES = [str(digit) for digit in range(10)]
SIZE = 128
# Each digit in 4 x 4 squares, row by row.
_GLYPHS = (
    *("0110100110010110", "0010011000100111", "1110001001001111", "1110011000011110", "1001100111110001"),
    *("1111111000011110", "0110111010010110", "1111001001000100", "0110111101101111", "0111011100010110"),
)


def scenes(count: int, seed: int) -> list[dict[str, Any]]:
    """Records, in Detectron2's format, of `count` images that `DrawnScenes` draws: none is on disk."""
    rng = np.random.default_rng(seed)
    return [{"image_id": number, **_scene(rng)} for number in range(count)]


def _scene(rng: np.random.Generator) -> dict[str, Any]:
    annotations = []
    for column in range(3):
        edge, digit = int(rng.integers(20, 36)), int(rng.integers(10))
        left, top = 2 + 42 * column + int(rng.integers(4)), int(rng.integers(2, SIZE - edge - 2))
        box = [left, top, left + edge, top + edge]
        outline = [left, top, left + edge, top, left + edge, top + edge, left, top + edge]
        annotations.append(
            {
                "bbox": box,
                "bbox_mode": BoxMode.XYXY_ABS,
                "category_id": digit,
                "segmentation": [outline],
                "iscrowd": 0,
            }
        )
    return {"file_name": "", "height": SIZE, "width": SIZE, "annotations": annotations}


def draw(annotations: list[dict[str, Any]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The scene as a (SIZE, SIZE, 3) image: white digits of 4 x 4 squares on grey."""
    image = np.full((SIZE, SIZE, 3), 90, np.uint8)
    for annotation in annotations:
        left, top, right, _ = annotation["bbox"]
        glyph = np.array([int(bit) for bit in _GLYPHS[annotation["category_id"]]]).reshape(4, 4)
        edge = right - left
        rows = np.arange(edge) * 4 // edge
        image[top : top + edge, left : left + edge][glyph[rows][:, rows] == 1] = 250
    return image


class DrawnScenes:
    """A mapper that draws a scene where others read a file, for training in varied light."""

    def __init__(self, cfg: CfgNode, is_train: bool) -> None:
        varied = [RandomBrightness(0.7, 1.3), RandomContrast(0.7, 1.3)] if is_train else []
        self._augmentations = AugmentationList(varied)
        self._mask_format = cfg.INPUT.MASK_FORMAT

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        inputs = AugInput(draw(record["annotations"]))
        transforms = self._augmentations(inputs)
        size = inputs.image.shape[:2]
        moved = [transform_instance_annotations(dict(a), transforms, size) for a in record["annotations"]]
        return {
            "image_id": record["image_id"],
            "height": record["height"],
            "width": record["width"],
            "image": torch.from_numpy(np.ascontiguousarray(inputs.image.transpose(2, 0, 1))),
            "instances": annotations_to_instances(moved, size, mask_format=self._mask_format),
        }


for _split, _count, _seed in (("train", 24, 1), ("validation", 6, 2)):
    _name = f"digit_scenes_{_split}"
    DatasetCatalog.register(_name, lambda count=_count, seed=_seed: scenes(count, seed))
    MetadataCatalog.get(_name).set(thing_classes=NAMES)
