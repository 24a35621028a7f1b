"""What a COCO annotation file says that a config can contradict."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from detectron_trainer.failures import Problem

_IMAGES_READ = 5


@dataclass(frozen=True)
class Annotations:
    """What a COCO file holds: categories by ascending id, the first images, keypoints of one instance."""

    categories: tuple[str, ...]
    images: tuple[str, ...]
    keypoints: int | None


def read_annotations(path: Path, where: str, problems: list[Problem]) -> Annotations | None:
    """What the file at `path` holds; None, and a problem of the field `where`, if it cannot be read."""
    try:
        annotations = _parse_annotations(json.loads(path.read_bytes()))
    except FileNotFoundError:
        problems.append(Problem(where, f"{path} does not exist"))
    except (OSError, ValueError) as error:
        problems.append(Problem(where, f"{path} is not a COCO annotation file: {error}"))
    except (KeyError, TypeError, AttributeError) as error:
        problems.append(
            Problem(where, f"{path} is not a COCO annotation file: {type(error).__name__} {error}")
        )
    else:
        return annotations
    return None


def _parse_annotations(document: Mapping[str, Sequence[Mapping[str, object]]]) -> Annotations:
    for part in ("images", "annotations", "categories"):
        if not document.get(part):
            raise ValueError(f"it has no {part}")
    categories = sorted(document["categories"], key=lambda category: int(str(category["id"])))
    keypoints = next((a["keypoints"] for a in document["annotations"] if a.get("keypoints")), None)
    return Annotations(
        categories=tuple(str(category["name"]) for category in categories),
        images=tuple(str(image["file_name"]) for image in document["images"][:_IMAGES_READ]),
        keypoints=len(keypoints) // 3 if isinstance(keypoints, list) else None,
    )
