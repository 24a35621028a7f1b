"""Draw tickets with a cut corner, and write where each of their four corners is, in COCO's keypoint format.

The cut is always at the top left, so that a model can tell the corners apart however a ticket is turned.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

Points = np.ndarray[Any, np.dtype[np.float64]]
SIZE = 128
CORNERS = ("top_left", "top_right", "bottom_right", "bottom_left")
_UPRIGHT = np.array([[-1.0, -0.6], [1.0, -0.6], [1.0, 0.6], [-1.0, 0.6]])


def write_split(output: Path, split: str, count: int, seed: int) -> None:
    """`count` images of one ticket each in `output`/`split`, described by `output`/`split`.json."""
    rng = np.random.default_rng(seed)
    (output / split).mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in range(1, count + 1):
        corners = _place(rng)
        _draw(corners, rng).save(output / split / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": SIZE, "height": SIZE})
        annotations.append(_annotation(number, corners))
    category = {"id": 1, "name": "ticket", "keypoints": list(CORNERS), "skeleton": []}
    document = {"images": images, "annotations": annotations, "categories": [category]}
    (output / f"{split}.json").write_text(json.dumps(document))


def _place(rng: np.random.Generator) -> Points:
    """Four corners as (4, 2) of x, y: turned by at most 30 degrees, inside the image."""
    angle, scale = rng.uniform(-0.5, 0.5), rng.uniform(20, 34)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners: Points = _UPRIGHT @ turn.T * scale + rng.uniform(45, SIZE - 45, 2)
    return corners


def _draw(corners: Points, rng: np.random.Generator) -> Image.Image:
    image = Image.new("RGB", (SIZE, SIZE), tuple(int(v) for v in rng.integers(20, 90, 3)))
    pen = ImageDraw.Draw(image)
    pen.polygon([tuple(corner) for corner in corners], fill=tuple(int(v) for v in rng.integers(150, 255, 3)))
    first, right, _, below = corners
    cut = [first, first + 0.3 * (right - first), first + 0.3 * (below - first)]
    pen.polygon([tuple(point) for point in cut], fill=(0, 0, 0))
    return image


def _annotation(number: int, corners: Points) -> dict[str, Any]:
    left, top = corners.min(axis=0)
    width, height = corners.max(axis=0) - corners.min(axis=0)
    outline = [round(float(value), 2) for value in corners.ravel()]
    return {
        "id": number,
        "image_id": number,
        "category_id": 1,
        "bbox": [float(left), float(top), float(width), float(height)],
        "area": float(width * height),
        "iscrowd": 0,
        "segmentation": [outline],
        "num_keypoints": len(CORNERS),
        "keypoints": [value for x, y in corners for value in (float(x), float(y), 2)],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw tickets whose corners are keypoints.")
    parser.add_argument("--output", type=Path, required=True, help="folder to write, made if missing")
    folder = parser.parse_args().output
    write_split(folder, "train", 200, seed=1)
    write_split(folder, "validation", 40, seed=2)
