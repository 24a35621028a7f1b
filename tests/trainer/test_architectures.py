"""Every architecture of Detectron2's zoo that the manifest offers: trained and evaluated, in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from prometheus_client import CollectorRegistry

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import load_coco_json
from detectron2.utils.events import get_event_storage

from detectron_trainer.gang.stop import StopRequest
from detectron_trainer.gang.world import World, join
from detectron_trainer.job.manifest import parse_job
from detectron_trainer.job.pod import Pod
from detectron_trainer.metrics.storage import BoundedStorage
from detectron_trainer.preflight.data import DataCheck
from detectron_trainer.preflight.inspection import inspect
from detectron_trainer.progress.board import ProgressBoard
from detectron_trainer.progress.document import Progress
from detectron_trainer.progress.parts import Phase
from detectron_trainer.training.life import Life
from detectron_trainer.training.reporter import Reporter
from detectron_trainer.training.training_run import TrainingRun
from tests.trainer import tiny
from tests.trainer.conftest import free_port, rows

SMALL = """
MODEL:
  BACKBONE: {FREEZE_AT: 0}
  RESNETS: {WIDTH_PER_GROUP: 8, RES2_OUT_CHANNELS: 32, STEM_OUT_CHANNELS: 16, NORM: BN}
  FPN: {OUT_CHANNELS: 32}
  RPN:
    BATCH_SIZE_PER_IMAGE: 32
    PRE_NMS_TOPK_TRAIN: 50
    PRE_NMS_TOPK_TEST: 50
    POST_NMS_TOPK_TRAIN: 30
    POST_NMS_TOPK_TEST: 20
  ROI_HEADS: {NUM_CLASSES: 3, BATCH_SIZE_PER_IMAGE: 16, SCORE_THRESH_TEST: 0.0}
  ROI_BOX_HEAD: {FC_DIM: 32}
  ROI_MASK_HEAD: {CONV_DIM: 16, NUM_CONV: 1}
  ROI_KEYPOINT_HEAD: {CONV_DIMS: [16], NUM_KEYPOINTS: 4}
  RETINANET: {NUM_CLASSES: 3, NUM_CONVS: 1, SCORE_THRESH_TEST: 0.0}
  SEM_SEG_HEAD: {NUM_CLASSES: 4, CONVS_DIM: 16, NORM: ""}
INPUT: {MIN_SIZE_TRAIN: [64], MAX_SIZE_TRAIN: 64, MIN_SIZE_TEST: 64, MAX_SIZE_TEST: 64}
DATALOADER: {NUM_WORKERS: 0}
SOLVER: {IMS_PER_BATCH: 2, BASE_LR: 0.001, STEPS: [], MAX_ITER: 2}
SEED: 1
"""
# As in training itself, where detectron2_compat silences them; in a test pytest's filters are in force.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
CORNERS = {"names": list(tiny.CORNERS), "sigmas": [0.1] * 4, "flipMap": [["top_left", "top_right"]]}
BOXES = {"loss_cls", "loss_box_reg"}
TWO_STAGE = BOXES | {"loss_rpn_cls", "loss_rpn_loc"}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    environment = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**environment, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}.items():
            patch.setenv(name, value)
        with join(environment, "cpu") as joined:
            yield joined


@pytest.fixture(autouse=True)
def _forget_datasets() -> Iterator[None]:
    yield
    for name in {"tiny_train", "tiny_test"} & set(DatasetCatalog):
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture(scope="module")
def stuff(tiny_data: Path) -> Iterator[None]:
    """The tiny data with a class for each pixel: background or one of the three colours."""
    for split in ("train", "test"):
        annotations = tiny_data / split / "annotations.json"
        _write_classes(tiny_data / split, json.loads(annotations.read_text()))
        for kind in ("sem_seg", "coco_panoptic_seg"):
            name = f"{kind}_{split}"
            DatasetCatalog.register(name, lambda split=split: _with_classes(tiny_data / split))
            MetadataCatalog.get(name).set(
                evaluator_type=kind,
                json_file=str(annotations),
                image_root=str(tiny_data / split / "images"),
                thing_classes=list(tiny.CATEGORIES),
                thing_dataset_id_to_contiguous_id={1: 0, 2: 1, 3: 2},
                stuff_classes=["background", *tiny.CATEGORIES],
                ignore_label=255,
            )
    yield
    for split in ("train", "test"):
        for kind in ("sem_seg", "coco_panoptic_seg"):
            DatasetCatalog.remove(f"{kind}_{split}")
            MetadataCatalog.remove(f"{kind}_{split}")


def _write_classes(folder: Path, document: Mapping[str, Any]) -> None:
    (folder / "classes").mkdir()
    for image in document["images"]:
        classes = Image.new("L", (64, 64), 0)
        for annotation in document["annotations"]:
            if annotation["image_id"] == image["id"]:
                polygon = np.array(annotation["segmentation"][0]).tolist()
                ImageDraw.Draw(classes).polygon(polygon, fill=annotation["category_id"])
        classes.save(folder / "classes" / image["file_name"])


def _with_classes(folder: Path) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = load_coco_json(str(folder / "annotations.json"), str(folder / "images"))
    for record in records:
        for annotation in record["annotations"]:
            annotation["category_id"] -= 1
        record["sem_seg_file_name"] = str(folder / "classes" / Path(record["file_name"]).name)
    return records


def train(manifest: dict[str, Any], folder: Path, world: World) -> tuple[list[dict[str, float]], set[str]]:
    """The rows of metrics.json and the names of the metrics of the last evaluation."""
    job = parse_job(json.dumps(manifest))
    pod = Pod(
        manifest=folder / "job.yaml",
        output=folder,
        attempt=0,
        metrics_port=0,
        termination_log=folder / "termination.json",
    )
    now = datetime(2026, 1, 1, tzinfo=UTC)
    progress = Progress(phase=Phase.STARTING, attempt=0, world_size=1, iteration=0, last_updated_time=now)
    board = ProgressBoard(progress, lambda: now)
    found = inspect(job, folder, pod.mounts, 1, data=DataCheck.WHOLE, gpus=False)
    assert found.problems == ()
    life = Life(
        job=job,
        cfg=found.cfg,
        recipe=found.recipe,
        pod=pod,
        world=world,
        board=board,
        registry=CollectorRegistry(),
        clock=lambda: now,
        leave=lambda verdict: pytest.fail(verdict.message),
        downloads=folder / "downloads",
    )
    TrainingRun(life).train(StopRequest())
    evaluation = board.snapshot().evaluation
    assert evaluation is not None
    assert evaluation.iteration == 2
    return rows(folder), set(evaluation.metrics)


def manifest_of(base: str, data: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    manifest = tiny.job(data)
    manifest["spec"]["config"] = {"base": base, "inline": SMALL, "overrides": list(overrides)}
    return manifest


@pytest.mark.parametrize(
    ("base", "losses", "metric"),
    [
        ("COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml", TWO_STAGE, "bbox/AP"),
        ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml", {*TWO_STAGE, "loss_mask"}, "segm/AP"),
        ("COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x.yaml", {*TWO_STAGE, "loss_keypoint"}, "keypoints/AP"),
        ("COCO-Detection/retinanet_R_50_FPN_1x.yaml", BOXES, "bbox/AP"),
    ],
)
def test_instances(
    tmp_path: Path, tiny_data: Path, world: World, base: str, losses: set[str], metric: str
) -> None:
    manifest = manifest_of(base, tiny_data)
    if "keypoints" in metric:
        for dataset in manifest["spec"]["datasets"]:
            dataset["keypoints"] = CORNERS
    metrics_rows, metrics = train(manifest, tmp_path, world)
    assert all(losses <= row.keys() for row in metrics_rows)
    assert {name.removeprefix("tiny_test/") for name in metrics} >= {"bbox/AP", metric}


@pytest.mark.parametrize(
    ("base", "kind", "losses", "expected"),
    [
        ("Misc/semantic_R_50_FPN_1x.yaml", "sem_seg", {"loss_sem_seg"}, {"sem_seg/mIoU"}),
        (
            "COCO-PanopticSegmentation/panoptic_fpn_R_50_1x.yaml",
            "coco_panoptic_seg",
            {*TWO_STAGE, "loss_mask", "loss_sem_seg"},
            {"bbox/AP", "segm/AP", "sem_seg/mIoU"},
        ),
    ],
)
@pytest.mark.usefixtures("stuff")
def test_every_pixel(
    tmp_path: Path, tiny_data: Path, world: World, base: str, kind: str, losses: set[str], expected: set[str]
) -> None:
    manifest = manifest_of(base, tiny_data)
    del manifest["spec"]["datasets"]
    names = f"DATASETS: {{TRAIN: [{kind}_train], TEST: [{kind}_test]}}"
    manifest["spec"]["config"]["inline"] = SMALL + names
    metrics_rows, metrics = train(manifest, tmp_path, world)
    # A loss of its own where there are several; where there is one, it is the total.
    assert all(losses <= row.keys() or len(losses) == 1 for row in metrics_rows)
    assert {name.removeprefix(f"{kind}_test/") for name in metrics} >= expected


def test_augmented_evaluation_and_precise_batch_norm(tmp_path: Path, tiny_data: Path, world: World) -> None:
    base = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml"
    plain = train(manifest_of(base, tiny_data), tmp_path / "plain", world)
    asked = ["TEST.AUG.ENABLED True", "TEST.AUG.MIN_SIZES (48, 64)", "TEST.AUG.MAX_SIZE 64"]
    asked += ["TEST.PRECISE_BN.ENABLED True", "TEST.PRECISE_BN.NUM_ITER 2", "TEST.EVAL_PERIOD 1"]
    precise = train(manifest_of(base, tiny_data, asked), tmp_path / "precise", world)

    assert {"tiny_test/bbox_TTA/AP", "tiny_test/segm_TTA/AP50"} <= precise[1]
    assert "bbox_TTA/AP" in precise[0][-1]
    assert "bbox_TTA/AP" not in precise[0][0]
    # Batch norm trains on the batch's own statistics: counting them anew changes no loss.
    assert [row["total_loss"] for row in precise[0]] == [row["total_loss"] for row in plain[0]]
    assert not equal_tensors(tmp_path / "plain", tmp_path / "precise", "running_mean")
    assert equal_tensors(tmp_path / "plain", tmp_path / "precise", "weight")


def test_the_history_of_scalars_is_bounded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_data: Path, world: World
) -> None:
    """Training puts its scalars into the storage that forgets; Detectron2's keeps a million of each."""
    seen = []
    write = Reporter.write

    def write_and_look(reporter: Reporter) -> None:
        write(reporter)
        seen.append(type(get_event_storage()))

    monkeypatch.setattr(Reporter, "write", write_and_look)
    train(manifest_of("COCO-Detection/retinanet_R_50_FPN_1x.yaml", tiny_data), tmp_path, world)
    assert seen == [BoundedStorage] * 2


def equal_tensors(one: Path, other: Path, suffix: str) -> bool:
    """Whether all tensors of the two final models that end in `suffix` are equal."""
    models = [torch.load(folder / "model_final.pth")["model"] for folder in (one, other)]
    names = [name for name in models[0] if name.endswith(suffix)]
    assert names
    return all(torch.equal(models[0][name], models[1][name]) for name in names)
