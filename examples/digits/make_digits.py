"""Compose real handwritten digits into scenes for object detection and instance segmentation, in COCO format.

    python examples/digits/make_digits.py --output DIR

writes `DIR/train.json`, `DIR/train/*.png`, `DIR/validation.json` and `DIR/validation/*.png`. The digits are
the 1,797 of the UCI optical recognition set that scikit-learn ships (8x8 pixels, 17 levels). Both annotation
files are written last, after every image: where one is missing, the run did not finish.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
from contourpy import FillType, contour_generator
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

Pixels = NDArray[np.float32]
Mask = NDArray[np.bool_]
Points = NDArray[np.float64]

SPLITS = ("train", "validation")
TRAIN_SHARE = 0.8
DESCRIPTION = "Scenes of handwritten digits, composed by make_digits.py"
INK_LEVEL = 0.5
"""The opacity from which a pixel belongs to a digit; its polygon is the contour at this level."""
MOST_DIGITS = 7
TRIES_PER_DIGIT = 20
SMALLEST_SCENE = 64


@dataclass(frozen=True)
class Digit:
    """A source digit: its index in scikit-learn's set, what it shows (0-9), its 8x8 pixels in 0..1."""

    index: int
    label: int
    pixels: Pixels


@dataclass(frozen=True)
class PlacedDigit:
    """A digit in a scene: the scene's pixels that it covers (height, width), and their outline.

    Each polygon is (points, 2) of x, y in pixels, where the top left pixel spans 0..1.
    """

    digit: Digit
    mask: Mask
    polygons: tuple[Points, ...]


@dataclass(frozen=True)
class Scene:
    """An image (height, width, 3) of 8-bit RGB and the digits in it."""

    image: NDArray[np.uint8]
    digits: tuple[PlacedDigit, ...]


class ForeignOutputError(Exception):
    """The output folder holds annotations that this command did not write."""


def source_digits() -> dict[str, list[Digit]]:
    """The digits of each split, cut in the set's order: it goes by writer, so other hands wrote the last."""
    bunch = load_digits()
    digits = [
        Digit(index, int(label), (pixels / 16).astype(np.float32))
        for index, (label, pixels) in enumerate(zip(bunch.target, bunch.images, strict=True))
    ]
    cut = round(len(digits) * TRAIN_SHARE)
    return dict(zip(SPLITS, (digits[:cut], digits[cut:]), strict=True))


def enlarge(pixels: Pixels, edge: int) -> Pixels:
    """The digit drawn smoothly on a clear (edge, edge) canvas, as the ink's opacity in 0..1."""
    framed = Image.fromarray(np.pad(pixels, 1))
    smooth = np.asarray(framed.resize((edge - 2, edge - 2), Image.Resampling.BICUBIC))
    # Clear at the border closes every contour; the steeper ramp gives the pen an edge.
    return np.pad(np.clip((smooth - 0.3) / 0.4, 0, 1, dtype=np.float32), 1)


def outline(opacity: Pixels) -> tuple[Points, ...]:
    """Polygons around the ink, each (points, 2) of x, y. COCO's have no holes: a slit leads to each."""
    filled = contour_generator(z=opacity, fill_type=FillType.OuterOffset).filled(INK_LEVEL, 2)
    pieces, offsets = cast("tuple[list[Points], list[NDArray[np.uint32]]]", filled)
    polygons = []
    for points, bounds in zip(pieces, offsets, strict=True):
        # Every ring ends where it began; the first is the outer one.
        ring, *holes = (points[start : end - 1] for start, end in pairwise(bounds))
        for hole in holes:
            ring = cut_hole(ring, hole)
        # The contour counts from pixel centres, COCO from pixel corners.
        polygons.append(ring + 0.5)
    return tuple(polygons)


def cut_hole(ring: Points, hole: Points) -> Points:
    """One ring around what is inside `ring` and outside `hole`, joined where the two are closest."""
    squared = ((ring[:, None] - hole[None]) ** 2).sum(axis=-1)
    here, there = np.unravel_index(int(squared.argmin()), squared.shape)
    return np.concatenate([ring[: here + 1], hole[there:], hole[: there + 1], ring[here:]])


def background(rng: np.random.Generator, size: int) -> Pixels:
    """Paper in one tone with soft stains and grain: (size, size, 3) in 0..255."""
    tone = rng.uniform(40, 215) + rng.uniform(-20, 20, 3)
    stains = rng.normal(0, 14, (5, 5, 3)).astype(np.float32)
    channels = [
        np.asarray(Image.fromarray(stains[..., c]).resize((size, size), Image.Resampling.BICUBIC))
        for c in range(3)
    ]
    grain = rng.normal(0, rng.uniform(3, 10), (size, size, 1))
    return np.asarray(tone + np.stack(channels, axis=-1) + grain, np.float32)


def ink(rng: np.random.Generator, paper: Pixels) -> Pixels:
    """An RGB colour that can be told from the paper."""
    tone = float(paper.mean())
    away = rng.uniform(80, 140) * (1 if tone < 128 else -1)
    return (tone + away + rng.uniform(-30, 30, 3)).astype(np.float32)


def place(rng: np.random.Generator, digit: Digit, taken: Mask) -> tuple[Pixels, PlacedDigit] | None:
    """Put the digit where its strokes touch no other digit's; None if there is no such place.

    Returns the ink's opacity over the whole scene (height, width) and the placed digit. Boxes may overlap.
    """
    size = len(taken)
    for _ in range(TRIES_PER_DIGIT):
        edge = int(rng.integers(size // 5, size * 2 // 5, endpoint=True))
        left, top = (int(v) for v in rng.integers(0, size - edge, 2, endpoint=True))
        drawn = enlarge(digit.pixels, edge)
        if taken[top : top + edge, left : left + edge][drawn > 0].any():
            continue
        opacity = np.zeros((size, size), np.float32)
        opacity[top : top + edge, left : left + edge] = drawn
        corner = np.array([left, top])
        polygons = tuple(ring + corner for ring in outline(drawn))
        return opacity, PlacedDigit(digit, opacity >= INK_LEVEL, polygons)
    return None


def compose(rng: np.random.Generator, digits: Sequence[Digit], size: int) -> Scene:
    """A (size, size) scene of one to seven different digits."""
    paper = background(rng, size)
    canvas = paper.copy()
    taken = np.zeros((size, size), np.bool_)
    placed = []
    for pick in rng.choice(len(digits), rng.integers(1, MOST_DIGITS, endpoint=True), replace=False):
        colour = ink(rng, paper)
        found = place(rng, digits[pick], taken)
        if found is None:
            continue
        opacity, digit = found
        canvas += opacity[..., None] * (colour - canvas)
        taken |= opacity > 0
        placed.append(digit)
    return Scene(np.clip(canvas, 0, 255).astype(np.uint8), tuple(placed))


def scenes(split: str, digits: Sequence[Digit], count: int, size: int, seed: int) -> Iterator[Scene]:
    """`count` scenes. Each has its own random stream, so a longer run begins with the same scenes."""
    for number in range(count):
        yield compose(np.random.default_rng([seed, SPLITS.index(split), number]), digits, size)


def annotation(number: int, image: int, placed: PlacedDigit) -> dict[str, Any]:
    """The COCO record of one digit; `source_digit` is its index in scikit-learn's set."""
    polygons = [ring.round(2) for ring in placed.polygons]
    points = np.concatenate(polygons)
    low, high = points.min(axis=0), points.max(axis=0)
    return {
        "id": number,
        "image_id": image,
        "category_id": placed.digit.label + 1,
        "bbox": [round(float(v), 2) for v in (*low, *(high - low))],
        "area": int(placed.mask.sum()),
        "iscrowd": 0,
        "segmentation": [ring.ravel().tolist() for ring in polygons],
        "source_digit": placed.digit.index,
    }


def write_images(folder: Path, content: Iterable[Scene]) -> dict[str, Any]:
    """Write each scene as a PNG into `folder`; returns the COCO document that describes them."""
    folder.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, scene in enumerate(content, start=1):
        name = f"{number:06d}.png"
        Image.fromarray(scene.image).save(folder / name)
        height, width = scene.image.shape[:2]
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        for placed in scene.digits:
            annotations.append(annotation(len(annotations) + 1, number, placed))
    categories = [{"id": label + 1, "name": str(label), "supercategory": "digit"} for label in range(10)]
    return {
        "info": {"description": DESCRIPTION},
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }


def refuse_foreign(annotations: Path) -> None:
    """Raise ForeignOutputError if the file exists and this command did not make it."""
    if not annotations.exists():
        return
    try:
        document = json.loads(annotations.read_bytes())
    except ValueError:
        document = None
    info = document.get("info") if isinstance(document, dict) else None
    if not isinstance(info, dict) or info.get("description") != DESCRIPTION:
        raise ForeignOutputError(f"{annotations} was not made by this command: name another --output")


def write_dataset(output: Path, splits: Mapping[str, Iterable[Scene]]) -> dict[str, dict[str, Any]]:
    """Write all images, then the annotation file of each split; returns the COCO document by split.

    An earlier run's annotations go first, so that a run cut short leaves no finished-looking data set.
    """
    annotations = {split: output / f"{split}.json" for split in splits}
    for path in annotations.values():
        refuse_foreign(path)
    for path in annotations.values():
        path.unlink(missing_ok=True)
    documents = {split: write_images(output / split, content) for split, content in splits.items()}
    for split, document in documents.items():
        unfinished = annotations[split].with_suffix(".json.partial")
        unfinished.write_text(json.dumps(document, separators=(",", ":")))
        os.replace(unfinished, annotations[split])
    return documents


def at_least(minimum: int) -> Callable[[str], int]:
    """An argparse type for integers that are not smaller than `minimum`."""

    def integer(text: str) -> int:
        value = int(text)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"must be {minimum} or more, not {text}")
        return value

    return integer


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compose handwritten digits into COCO scenes.")
    add = parser.add_argument
    add("--output", type=Path, required=True, help="folder to write, made if missing")
    add("--train", type=at_least(1), default=400, help="scenes to train on (%(default)s)")
    add("--validation", type=at_least(1), default=80, help="scenes to evaluate on (%(default)s)")
    add("--size", type=at_least(SMALLEST_SCENE), default=128, help="pixels a side (%(default)s)")
    add("--seed", type=at_least(0), default=0, help="another seed, other scenes (%(default)s)")
    options = parser.parse_args(arguments)
    counts = dict(zip(SPLITS, (options.train, options.validation), strict=True))
    content = {
        split: scenes(split, digits, counts[split], options.size, options.seed)
        for split, digits in source_digits().items()
    }
    try:
        documents = write_dataset(options.output, content)
    except (ForeignOutputError, OSError) as error:
        print(f"make_digits: {error}", file=sys.stderr)
        return 1
    for split, document in documents.items():
        digits, images = len(document["annotations"]), len(document["images"])
        print(f"{options.output / split}.json: {digits} digits in {images} scenes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
