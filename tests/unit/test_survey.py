"""What a COCO file is found to say about its instances, and how it is judged."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip
from detectron2.config import get_cfg

from detectron_trainer.failures import Problem
from detectron_trainer.job.manifest import parse_job
from detectron_trainer.job.pod import Mounts
from detectron_trainer.preflight.annotations import Annotation, Category, CocoFile, Image, read_coco
from detectron_trainer.preflight.data import DataCheck, DataFindings, judge_data
from detectron_trainer.preflight.images import find_missing
from detectron_trainer.preflight.schedule import count_training_images, doubt_schedule
from detectron_trainer.preflight.survey import ClassCount, Survey, survey
from tests.trainer import tiny

Change = Callable[[dict[str, Any]], None]


def annotation(number: int, **fields: Any) -> dict[str, Any]:
    outline = [[2, 3, 12, 3, 12, 23]]
    box = [2, 3, 10, 20]
    return {"id": number, "image_id": 1, "category_id": 1, "bbox": box, "segmentation": outline} | fields


def document(*annotations: dict[str, Any]) -> dict[str, Any]:
    return {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 64, "height": 48} for n in (1, 2, 3)],
        "annotations": list(annotations),
        "categories": [{"id": 7, "name": "goose"}, {"id": 1, "name": "duck"}],
    }


def survey_of(folder: Path, content: dict[str, Any]) -> Survey:
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    problems: list[Problem] = []
    file = read_coco(path, "spec.datasets[0].annotations", problems)
    assert file is not None, problems
    return survey(file)


def findings(folder: Path, content: dict[str, Any], *overrides: object, split: str = "train") -> DataFindings:
    """What the file is blamed for by a config of two classes with masks; its images are there."""
    for image in content["images"]:
        (folder / image["file_name"]).touch()
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    manifest = tiny.job(folder)
    datasets = manifest["spec"]["datasets"]
    datasets[0] |= {"annotations": str(path), "images": str(folder)}
    datasets[1:] = [] if split == "train" else [{**datasets[0], "name": "tested", "split": "test"}]
    cfg = get_cfg()
    cfg.MODEL.MASK_ON = True
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 2
    cfg.merge_from_list(list(overrides))
    return judge_data(parse_job(json.dumps(manifest)), cfg, Mounts(), DataCheck.WHOLE)


def test_counts_by_ascending_category(tmp_path: Path) -> None:
    found = survey_of(
        tmp_path,
        document(
            annotation(1),
            annotation(2),
            annotation(3, image_id=2),
            annotation(4, image_id=3, iscrowd=1),
            annotation(5, category_id=7, keypoints=[1, 1, 2, 2, 2, 0]),
            annotation(6, category_id=7, image_id=2, keypoints=[0, 0, 0]),
        ),
    )
    assert found.classes == (ClassCount("duck", 3, 2), ClassCount("goose", 2, 2))
    assert (found.images, found.annotations, found.annotated_images, found.keypoint_images) == (3, 6, 2, 1)
    assert found.keypoints == Counter({2: 1, 1: 1})


BOX = "on image 1 (1.png), 64 x 48"


@pytest.mark.parametrize(
    ("fields", "problem", "warning"),
    [
        ({}, None, None),
        ({"bbox": [0, 0, 64, 48]}, None, None),
        ({"bbox": [-0.9, 0, 64, 48]}, None, None),  # less than a pixel is nobody's mistake
        (
            {"bbox": [50, 30, 20, 10]},
            None,
            "1 boxes reach out of their image, and are clipped (bbox is [left, top, width, height]); "
            f"the first: annotation 2 has [50, 30, 20, 10] {BOX}",
        ),
        (
            {"bbox": [64, 0, 5, 5]},
            f"1 boxes have nothing inside their image; the first: annotation 2 has [64, 0, 5, 5] {BOX}",
            None,
        ),
        ({"bbox": [-9, 0, 9, 5]}, f"1 boxes have nothing inside their image; the first: annotation 2 has "
         f"[-9, 0, 9, 5] {BOX}", None),
        (
            {"bbox": [5, 5, 0, 7]},
            None,
            f"1 boxes have no area, and are left out; the first: annotation 2 has [5, 5, 0, 7] {BOX}",
        ),
        (
            {"image_id": 9},
            None,
            "1 annotations are of an image that the file does not list, and are left out; the first: "
            "annotation 2 of image 9",
        ),
        (
            {"category_id": 9},
            "1 annotations are of no category of the file; the first: annotation 2 of category 9",
            None,
        ),
        ({"id": 1}, "1 annotation ids stand for several annotations; the first: 1", None),
        (
            {"segmentation": []},
            "1 instances have no segmentation, but MODEL.MASK_ON is set; the first: annotation 2",
            None,
        ),
    ],
)  # fmt: skip
def test_annotations(
    tmp_path: Path, fields: dict[str, Any], problem: str | None, warning: str | None
) -> None:
    goose = annotation(3, category_id=7)
    found = findings(tmp_path, document(annotation(1), annotation(2, **fields), goose))
    where = "spec.datasets[0].annotations"
    assert found.problems == (() if problem is None else (Problem(where, problem),))
    assert found.warnings == (() if warning is None else (Problem(where, warning),))


def test_ids_that_stand_for_several(tmp_path: Path) -> None:
    content = document(annotation(1), annotation(2, category_id=7))
    content["images"].append({**content["images"][0], "file_name": "other.png"})
    content["categories"].append({"id": 7, "name": "swan"})
    messages = [
        problem.message for problem in findings(tmp_path, content, "MODEL.ROI_HEADS.NUM_CLASSES", 3).problems
    ]
    assert messages == [
        "1 image ids stand for several images; the first: 1",
        "1 category ids stand for several categories; the first: 7",
    ]


def test_without_masks_outlines_are_not_needed(tmp_path: Path) -> None:
    content = document(annotation(1, segmentation=None), annotation(2, category_id=7, segmentation=[]))
    assert findings(tmp_path, content, "MODEL.MASK_ON", False).problems == ()


def test_a_class_without_instances_is_doubted_where_it_is_trained(tmp_path: Path) -> None:
    content = document(annotation(1), annotation(2, category_id=7, iscrowd=1))
    found = findings(tmp_path, content, split="test")
    # Both datasets are the same file; the one that is only tested may lack a class.
    assert found.warnings == (Problem("spec.datasets[0].annotations", "has no instance of goose"),)


def test_keypoints_of_every_instance_count(tmp_path: Path) -> None:
    content = document(
        annotation(1, keypoints=[1, 1, 2] * 17),
        annotation(2, category_id=7, keypoints=[1, 1, 2] * 4),
        annotation(3, keypoints="none"),
    )
    found = findings(tmp_path, content, "MODEL.KEYPOINT_ON", True)
    assert [problem.message for problem in found.problems] == [
        "1 instances have 4 keypoints; without a keypoints field a person has 17",
        "1 instances have keypoints that are no list of numbers; the first: annotation 3: "
        "Expected `array`, got `str`",
    ]


def test_every_missing_image_counts_and_some_are_named(tmp_path: Path) -> None:
    content = document(annotation(1), annotation(2, category_id=7))
    content["images"] += [{"id": n, "file_name": f"{n}.png", "width": 9, "height": 9} for n in range(4, 50)]
    findings(tmp_path, content)
    for number in range(10, 20):
        (tmp_path / f"{number}.png").unlink()
    path = tmp_path / "annotations.json"
    file = read_coco(path, "", [])
    assert file is not None
    search = find_missing(tmp_path, [image.file_name for image in file.images])
    assert search.sought == 49
    assert search.missing == tuple(f"{number}.png" for number in range(10, 20))


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """Two folders of 300 images, of which `b` lacks two, and one with a few."""
    for name, count in (("a", 300), ("b", 298), ("few", 3)):
        (tmp_path / name).mkdir()
        for number in range(count):
            (tmp_path / name / f"{number}.png").touch()
    return tmp_path


NAMES = [
    f"{folder}/{number}.png"
    for folder, count in (("a", 300), ("b", 300), ("few", 4))
    for number in range(count)
]


def test_large_folders_are_listed_once_and_not_asked_for_each_image(
    crowded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    listed: list[Path] = []
    exists, scandir = Path.exists, os.scandir

    def counted_exists(path: Path) -> bool:
        asked.append(path)
        return exists(path)

    def counted_scandir(path: Path) -> Any:
        listed.append(path)
        return scandir(path)

    monkeypatch.setattr(Path, "exists", counted_exists)
    monkeypatch.setattr(os, "scandir", counted_scandir)
    search = find_missing(crowded, [*NAMES, *(f"nowhere/{number}.png" for number in range(200))])
    assert search.sought == 804
    assert search.missing == (
        "b/298.png", "b/299.png", "few/3.png", *(f"nowhere/{number}.png" for number in range(200))
    )  # fmt: skip
    assert listed == [crowded / "a", crowded / "b", crowded / "nowhere"]
    assert asked == [crowded / "few" / f"{number}.png" for number in range(4)]


def test_the_search_ends_when_its_time_is_up_and_says_how_far_it_came(crowded: Path) -> None:
    def ticks(step: float) -> Iterator[float]:
        now = 0.0
        while True:
            yield now
            now += step

    slow, slower = ticks(0.375), ticks(0.125)
    assert find_missing(crowded, NAMES, seconds=1.0, clock=lambda: next(slow)).sought == 300
    few = [f"few/{number}.png" for number in range(4)]
    assert find_missing(crowded, few * 9, seconds=1.0, clock=lambda: next(slower)).sought == 7


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, None),
        ({"IMS_PER_BATCH": 32, "BASE_LR": 0.04}, None),
        ({"IMS_PER_BATCH": 8}, None),  # within a factor of two
        ({"IMS_PER_BATCH": 16, "BASE_LR": 0.0001}, None),  # fine-tuning
        (
            {"IMS_PER_BATCH": 2},
            "SOLVER.BASE_LR 0.02 at SOLVER.IMS_PER_BATCH 2: by the linear rule 0.02 at 16, as "
            "spec.config.base has it, makes 0.0025",
        ),
        (
            {"IMS_PER_BATCH": 64},
            "SOLVER.BASE_LR 0.02 at SOLVER.IMS_PER_BATCH 64: by the linear rule 0.02 at 16, as "
            "spec.config.base has it, makes 0.08",
        ),
        ({"MAX_ITER": 70000}, "SOLVER.STEPS 80000 are never reached: SOLVER.MAX_ITER is 70000"),
        (
            {"MAX_ITER": 1000, "STEPS": ()},
            "SOLVER.WARMUP_ITERS 1000 last until SOLVER.MAX_ITER 1000, so the full learning rate is never "
            "reached",
        ),
    ],
)
def test_schedule(settings: dict[str, Any], expected: str | None) -> None:
    base = get_cfg()
    base.SOLVER.update({"BASE_LR": 0.02, "IMS_PER_BATCH": 16, "MAX_ITER": 90000, "STEPS": (60000, 80000)})
    cfg = base.clone()
    cfg.SOLVER.update(settings)
    found = [str(problem) for problem in doubt_schedule(cfg, base)]
    assert found == ([] if expected is None else [f"spec.config: {expected}"])


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), 2),
        (("DATALOADER.FILTER_EMPTY_ANNOTATIONS", False), 3),
        (("MODEL.KEYPOINT_ON", True), 1),
    ],
)
def test_only_images_that_are_trained_on_make_an_epoch(
    tmp_path: Path, overrides: tuple[object, ...], expected: int
) -> None:
    content = document(annotation(1, keypoints=[1, 1, 2]), annotation(2, image_id=2, category_id=7))
    reports = findings(tmp_path, content).reports
    cfg = get_cfg()
    cfg.merge_from_list(["DATASETS.TRAIN", ("tiny_train",), *overrides])
    assert count_training_images(cfg, reports) == expected
    cfg.DATASETS.TRAIN = ("tiny_train", "of_a_plugin")
    assert count_training_images(cfg, reports) is None


class Counted(int):
    """An id that counts how often it is hashed or compared."""

    uses = 0

    def __hash__(self) -> int:
        Counted.uses += 1
        return int.__hash__(self)

    def __eq__(self, other: object) -> bool:
        Counted.uses += 1
        return int.__eq__(self, other)


def uses_of_ids(images: int) -> int:
    file = CocoFile(
        images=[Image(Counted(n), f"{n}.png", 64, 48) for n in range(images)],
        annotations=[Annotation(Counted(n), Counted(n // 3), n % 5, (1, 2, 3, 4)) for n in range(images * 3)],
        categories=[Category(n, str(n)) for n in range(5)],
    )
    Counted.uses = 0
    survey(file)
    return Counted.uses


def test_twice_the_images_are_twice_the_work() -> None:
    small, large = uses_of_ids(200), uses_of_ids(800)
    assert 0 < large <= 4.2 * small
