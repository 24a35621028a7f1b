"""A data set and a job so small that a run takes seconds: coloured rectangles with masks and corners."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

CATEGORIES = ("red", "green", "blue")
_COLOURS = ((220, 40, 40), (40, 200, 60), (50, 70, 220))
CORNERS = ("top_left", "top_right", "bottom_right", "bottom_left")

INLINE = """
MODEL:
  MASK_ON: true
  BACKBONE: {NAME: build_resnet_backbone, FREEZE_AT: 0}
  RESNETS:
    {WIDTH_PER_GROUP: 8, RES2_OUT_CHANNELS: 32, STEM_OUT_CHANNELS: 16, NORM: BN, OUT_FEATURES: [res3]}
  RPN:
    IN_FEATURES: [res3]
    CONV_DIMS: [-1]
    BATCH_SIZE_PER_IMAGE: 32
    PRE_NMS_TOPK_TRAIN: 100
    PRE_NMS_TOPK_TEST: 50
    POST_NMS_TOPK_TRAIN: 30
    POST_NMS_TOPK_TEST: 20
  ROI_HEADS: {IN_FEATURES: [res3], NUM_CLASSES: 3, BATCH_SIZE_PER_IMAGE: 16, SCORE_THRESH_TEST: 0.0}
  ANCHOR_GENERATOR: {SIZES: [[16, 24, 32]]}
  ROI_BOX_HEAD: {FC_DIM: 32}
  ROI_MASK_HEAD: {CONV_DIM: 16, NUM_CONV: 1}
INPUT: {MIN_SIZE_TRAIN: [64], MAX_SIZE_TRAIN: 64, MIN_SIZE_TEST: 64, MAX_SIZE_TEST: 64}
DATALOADER: {NUM_WORKERS: 0}
SOLVER:
  {IMS_PER_BATCH: 4, BASE_LR: 0.01, WARMUP_ITERS: 4, STEPS: [9], MAX_ITER: 12, CHECKPOINT_PERIOD: 4}
TEST: {EVAL_PERIOD: 6}
SEED: 7
"""


def write_dataset(folder: Path, count: int, seed: int) -> None:
    """`count` images of 64 x 64 pixels in `folder`/images, described by `folder`/annotations.json."""
    rng = np.random.default_rng(seed)
    images = folder / "images"
    images.mkdir(parents=True)
    records: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        picture = Image.new("RGB", (64, 64), (120, 120, 120))
        draw = ImageDraw.Draw(picture)
        for column in range(2):
            kind = int(rng.integers(len(CATEGORIES)))
            width, height = (int(v) for v in rng.integers(14, 26, 2))
            left = int(rng.integers(1, 30 - width)) + 32 * column
            top = int(rng.integers(1, 62 - height))
            box = (left, top, left + width, top + height)
            draw.rectangle(box, fill=_COLOURS[kind])
            annotations.append(_annotation(len(annotations) + 1, number, kind, box))
        picture.save(images / f"{number}.png")
        records.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 64})
    categories = [{"id": n, "name": name} for n, name in enumerate(CATEGORIES, 1)]
    document = {"images": records, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document))


def _annotation(number: int, image: int, kind: int, box: tuple[int, int, int, int]) -> dict[str, Any]:
    left, top, right, bottom = box
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return {
        "id": number,
        "image_id": image,
        "category_id": kind + 1,
        "bbox": [left, top, right - left, bottom - top],
        "area": (right - left) * (bottom - top),
        "iscrowd": 0,
        "segmentation": [[value for corner in corners for value in corner]],
        "num_keypoints": 4,
        "keypoints": [value for x, y in corners for value in (x, y, 2)],
    }


def job(
    data: Path, *, spec: Mapping[str, Any] | None = None, overrides: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A manifest that trains a tiny Mask R-CNN on the folders that `write_dataset` made in `data`.

    `spec` replaces fields of its spec, `overrides` come last in its config.
    """
    datasets = [
        {
            "name": f"tiny_{split}",
            "split": split,
            "annotations": str(data / split / "annotations.json"),
            "images": str(data / split / "images"),
        }
        for split in ("train", "test")
    ]
    return {
        "apiVersion": "detectron.dev/v1alpha1",
        "kind": "DetectronTrainingJob",
        "metadata": {"name": "tiny", "namespace": "default"},
        "spec": {
            "config": {
                "base": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml",
                "inline": INLINE,
                "overrides": list(overrides),
            },
            "weights": {"random": True},
            "datasets": datasets,
            "output": {"ephemeral": True},
            "metrics": {"period": 1},
            "checkpoint": {"keep": 2},
            **(spec or {}),
        },
    }
