"""What a COCO file says about its instances, in one pass: the numbers that checks and people judge it by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from detectron_trainer.preflight.annotations import Annotation, CocoFile, Image

_PIXEL = 1.0
"""Boxes of hand-made annotations reach past the edge by less than this without meaning it."""


@dataclass
class Some:
    """How many there are of a kind, and which was the first."""

    count: int = 0
    first: str = ""

    def add(self, example: object) -> None:
        if not self.count:
            self.first = str(example)
        self.count += 1


@dataclass(frozen=True)
class ClassCount:
    """Instances of one category that are no crowd, and the images they are on."""

    name: str
    instances: int
    images: int


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Attributes:
    classes: by ascending category id, as Detectron2 numbers them.
    images: how many the file lists.
    annotated_images: those with an instance that is no crowd.
    keypoint_images: those with a labelled keypoint.
    keypoints: how many instances have how many keypoints; those without any are left out.
    repeated_images, repeated_annotations, repeated_categories: ids that stand for several.
    homeless: annotations of an image that the file does not list.
    uncategorised: annotations of a category that the file does not list.
    flat: boxes without area. outside: boxes with nothing inside their image. clipped: boxes partly inside.
    without_outline: instances without segmentation.
    bad_keypoints: instances whose keypoints are no list of numbers.
    """

    classes: tuple[ClassCount, ...]
    images: int
    annotations: int
    annotated_images: int
    keypoint_images: int
    keypoints: Counter[int]
    repeated_images: Some
    repeated_annotations: Some
    repeated_categories: Some
    homeless: Some
    uncategorised: Some
    flat: Some
    outside: Some
    clipped: Some
    without_outline: Some
    bad_keypoints: Some


@dataclass
class _Count:
    """What one pass over the annotations adds up."""

    sizes: dict[int | str, Image]
    images_of: dict[int, set[int | str]]
    instances: Counter[int] = field(default_factory=Counter)
    with_keypoints: set[int | str] = field(default_factory=set)
    keypoints: Counter[int] = field(default_factory=Counter)
    homeless: Some = field(default_factory=Some)
    uncategorised: Some = field(default_factory=Some)
    flat: Some = field(default_factory=Some)
    outside: Some = field(default_factory=Some)
    clipped: Some = field(default_factory=Some)
    without_outline: Some = field(default_factory=Some)
    bad_keypoints: Some = field(default_factory=Some)

    def add(self, one: Annotation) -> None:
        image, images = self.sizes.get(one.image_id), self.images_of.get(one.category_id)
        if images is None:
            self.uncategorised.add(f"annotation {one.id} of category {one.category_id}")
        if image is None:
            self.homeless.add(f"annotation {one.id} of image {one.image_id}")
            return
        self._add_box(one, image)
        if one.iscrowd:
            return
        if images is not None:
            images.add(one.image_id)
            self.instances[one.category_id] += 1
        if not one.has_segmentation:
            self.without_outline.add(f"annotation {one.id}")
        self._add_keypoints(one)

    def _add_box(self, one: Annotation, image: Image) -> None:
        left, top, width, height = one.bbox
        right, bottom = left + width, top + height
        if width <= 0 or height <= 0:
            self.flat.add(_box(one, image))
        elif left >= image.width or top >= image.height or right <= 0 or bottom <= 0:
            self.outside.add(_box(one, image))
        elif min(left, top) < -_PIXEL or right > image.width + _PIXEL or bottom > image.height + _PIXEL:
            self.clipped.add(_box(one, image))

    def _add_keypoints(self, one: Annotation) -> None:
        try:
            visibilities = one.visibilities()
        except msgspec.DecodeError as error:
            self.bad_keypoints.add(f"annotation {one.id}: {error}")
            return
        if visibilities:
            self.keypoints[len(visibilities)] += 1
            if any(visibilities):
                self.with_keypoints.add(one.image_id)


def survey(file: CocoFile) -> Survey:
    """Count what `file` holds."""
    count = _Count(
        sizes={image.id: image for image in file.images},
        images_of={category.id: set() for category in file.categories},
    )
    for annotation in file.annotations:
        count.add(annotation)
    categories = sorted(file.categories, key=lambda category: category.id)
    return Survey(
        classes=tuple(
            ClassCount(category.name, count.instances[category.id], len(count.images_of[category.id]))
            for category in categories
        ),
        images=len(file.images),
        annotations=len(file.annotations),
        annotated_images=len(set().union(*count.images_of.values())),
        keypoint_images=len(count.with_keypoints),
        keypoints=count.keypoints,
        repeated_images=_repeated(image.id for image in file.images),
        repeated_annotations=_repeated(annotation.id for annotation in file.annotations),
        repeated_categories=_repeated(category.id for category in file.categories),
        homeless=count.homeless,
        uncategorised=count.uncategorised,
        flat=count.flat,
        outside=count.outside,
        clipped=count.clipped,
        without_outline=count.without_outline,
        bad_keypoints=count.bad_keypoints,
    )


def _repeated(ids: Iterable[int | str]) -> Some:
    seen: set[int | str] = set()
    some = Some()
    for one in ids:
        if one in seen:
            some.add(one)
        seen.add(one)
    return some


def _box(one: Annotation, image: Image) -> str:
    box = ", ".join(f"{value:g}" for value in one.bbox)
    return (
        f"annotation {one.id} has [{box}] on image {image.id} ({image.file_name}), "
        f"{image.width:g} x {image.height:g}"
    )
