"""The digits example annotates what it has drawn, and its manifests fit the data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from examples.digits import make_digits
from examples.digits.make_digits import SPLITS, Scene

EXAMPLE = Path(make_digits.__file__).parent
SIZE = 96
SCENES = {"train": 12, "validation": 5}


def generate(output: Path, *, seed: int = 0) -> None:
    arguments = ["--output", str(output), "--size", str(SIZE), "--seed", str(seed)]
    assert make_digits.main([*arguments, "--train", "12", "--validation", "5"]) == 0


def read(output: Path, split: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((output / f"{split}.json").read_bytes())
    return document


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def some_scenes(split: str, count: int) -> Iterator[Scene]:
    return make_digits.scenes(split, make_digits.source_digits()[split], count, SIZE, seed=3)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    generate(folder)
    return folder


@pytest.mark.parametrize("split", SPLITS)
def test_pycocotools_loads_every_image_and_digit(output: Path, split: str) -> None:
    coco = COCO(str(output / f"{split}.json"))
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == list("0123456789")
    assert len(coco.getImgIds()) == SCENES[split]
    for image in coco.loadImgs(coco.getImgIds()):
        with Image.open(output / split / image["file_name"]) as picture:
            assert (picture.mode, picture.size) == ("RGB", (image["width"], image["height"]))
        assert 1 <= len(coco.getAnnIds(image["id"])) <= make_digits.MOST_DIGITS
    identifiers = [annotation["id"] for annotation in coco.dataset["annotations"]]
    assert len(set(identifiers)) == len(identifiers)


@pytest.mark.parametrize("split", SPLITS)
def test_boxes_lie_inside_the_image_and_bound_their_polygons(output: Path, split: str) -> None:
    for annotation in read(output, split)["annotations"]:
        x, y, width, height = annotation["bbox"]
        assert width > 0
        assert height > 0
        assert min(x, y) >= 0
        assert max(x + width, y + height) <= SIZE
        points = np.concatenate([np.reshape(ring, (-1, 2)) for ring in annotation["segmentation"]])
        bounds = [*points.min(axis=0), *points.max(axis=0)]
        assert [x, y, x + width, y + height] == pytest.approx(bounds, abs=0.02)


@pytest.mark.parametrize("split", SPLITS)
def test_polygons_cover_the_strokes_and_not_their_holes(split: str) -> None:
    for scene in some_scenes(split, 20):
        for placed in scene.digits:
            rings = make_digits.annotation(1, 1, placed)["segmentation"]
            drawn = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(rings, SIZE, SIZE))).astype(bool)
            overlap = (drawn & placed.mask).sum() / (drawn | placed.mask).sum()
            assert overlap >= 0.9, f"source digit {placed.digit.index}"


def test_a_hole_is_not_part_of_the_digit() -> None:
    ring = np.zeros((12, 12), np.float32)
    ring[2:10, 2:10] = 1
    ring[5:7, 5:7] = 0
    polygons = make_digits.outline(ring)
    encoded = coco_mask.frPyObjects([polygon.ravel().tolist() for polygon in polygons], 12, 12)
    assert len(polygons) == 1
    assert (coco_mask.decode(encoded[0]) == ring).all()


@pytest.mark.parametrize("split", SPLITS)
def test_strokes_of_different_digits_do_not_overlap(split: str) -> None:
    for scene in some_scenes(split, 20):
        assert np.sum([placed.mask for placed in scene.digits], axis=0).max() == 1


def test_strokes_stand_out_from_the_paper() -> None:
    for scene in some_scenes("train", 20):
        covered = np.any([placed.mask for placed in scene.digits], axis=0)
        paper = scene.image[~covered].mean()
        for placed in scene.digits:
            assert abs(scene.image[placed.mask].mean() - paper) > 25


def test_no_digit_is_both_trained_on_and_evaluated_on(output: Path) -> None:
    used = {
        split: {annotation["source_digit"] for annotation in read(output, split)["annotations"]}
        for split in SPLITS
    }
    assert used["train"].isdisjoint(used["validation"])
    sources = make_digits.source_digits()
    indices = [digit.index for split in SPLITS for digit in sources[split]]
    assert sorted(indices) == list(range(1797))
    for split in SPLITS:
        assert {digit.label for digit in sources[split]} == set(range(10))


def test_labels_are_those_of_the_source_digits(output: Path) -> None:
    labels = {digit.index: digit.label for digits in make_digits.source_digits().values() for digit in digits}
    for annotation in read(output, "train")["annotations"]:
        assert annotation["category_id"] == labels[annotation["source_digit"]] + 1


def test_the_same_seed_writes_the_same_bytes(output: Path, tmp_path: Path) -> None:
    generate(tmp_path)
    assert content(tmp_path) == content(output)
    generate(tmp_path)
    assert content(tmp_path) == content(output)


def test_another_seed_writes_other_scenes(output: Path, tmp_path: Path) -> None:
    generate(tmp_path, seed=1)
    assert read(tmp_path, "train") != read(output, "train")


@pytest.mark.parametrize("broken", SPLITS)
def test_an_interrupted_run_leaves_no_annotations_not_even_an_earlier_run_s(
    tmp_path: Path, broken: str
) -> None:
    def cut_short() -> Iterator[Scene]:
        yield from some_scenes(broken, 2)
        raise KeyboardInterrupt

    generate(tmp_path)
    splits = {split: some_scenes(split, 3) for split in SPLITS} | {broken: cut_short()}
    with pytest.raises(KeyboardInterrupt):
        make_digits.write_dataset(tmp_path, splits)
    assert list(tmp_path.glob("*.json*")) == []


@pytest.mark.parametrize("foreign", ['{"images": []}', '{"info": {"description": "COCO 2017"}}', "[]", "{"])
def test_annotations_of_another_data_set_are_left_alone(
    tmp_path: Path, foreign: str, capsys: pytest.CaptureFixture[str]
) -> None:
    generate(tmp_path)
    (tmp_path / "validation.json").write_text(foreign)
    before = content(tmp_path)
    assert make_digits.main(["--output", str(tmp_path), "--train", "1", "--validation", "1"]) == 1
    assert "another --output" in capsys.readouterr().err
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--train", "0"], "1 or more"), (["--size", "63"], "64 or more"), (["--seed", "x"], "invalid integer")],
)
def test_arguments_out_of_range_are_refused(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        make_digits.main(["--output", str(tmp_path), *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert content(tmp_path) == {}


def test_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generate(tmp_path)
    digits = {split: len(read(tmp_path, split)["annotations"]) for split in SPLITS}
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/train.json: {digits['train']} digits in 12 scenes",
        f"{tmp_path}/validation.json: {digits['validation']} digits in 5 scenes",
    ]


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((EXAMPLE / name).read_text()))


def test_the_job_reads_what_the_command_writes(output: Path) -> None:
    (job,) = manifests("job.yaml")
    (volume,) = job["spec"]["volumes"]
    for dataset, split in zip(job["spec"]["datasets"], SPLITS, strict=True):
        for path in (dataset["annotations"], dataset["images"]):
            assert (output / Path(path).relative_to(volume["mountPath"])).exists()
        assert split in dataset["annotations"]
    config = yaml.safe_load(job["spec"]["config"]["inline"])
    assert config["MODEL"]["ROI_HEADS"]["NUM_CLASSES"] == len(read(output, "train")["categories"])


def test_every_claim_that_is_used_is_made() -> None:
    made = {claim["metadata"]["name"] for claim in manifests("claims.yaml")}
    (job,) = manifests("job.yaml")
    (loader,) = manifests("loader.yaml")
    used = {job["spec"]["output"]["claimName"], job["spec"]["volumes"][0]["claimName"]}
    assert used == made
    assert loader["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] in made
