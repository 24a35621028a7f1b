"""What only Detectron2 can judge about a job."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip
from detectron2.config.defaults import _C
from detectron2.data import DatasetCatalog, MetadataCatalog

from detectron_trainer.job.manifest import parse_job
from detectron_trainer.job.pod import Mounts
from detectron_trainer.preflight.data import DataCheck
from detectron_trainer.preflight.inspection import Inspection, import_plugins, inspect
from tests.trainer import tiny

CORNERS = {"names": list(tiny.CORNERS), "sigmas": [0.1] * 4, "flipMap": [["top_left", "top_right"]]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    tiny.write_dataset(folder / "train", 4, seed=1)
    tiny.write_dataset(folder / "test", 2, seed=2)
    return folder


@pytest.fixture(autouse=True)
def _empty_catalog() -> Iterator[None]:
    yield
    for name in ("tiny_train", "tiny_test"):
        if name in DatasetCatalog:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


def problems(manifest: dict[str, Any], world_size: int = 1) -> list[str]:
    return [str(problem) for problem in inspection(manifest, world_size).problems]


def warnings(manifest: dict[str, Any], world_size: int = 1) -> list[str]:
    found = inspection(manifest, world_size)
    assert found.problems == ()
    return [str(warning) for warning in found.warnings]


def inspection(manifest: dict[str, Any], world_size: int = 1, *, gpus: bool = False) -> Inspection:
    job = parse_job(json.dumps(manifest))
    return inspect(job, Path("/output"), Mounts(), world_size, data=DataCheck.WHOLE, gpus=gpus)


def test_a_good_job_has_none(data: Path) -> None:
    assert problems(tiny.job(data), world_size=4) == []


def test_what_is_best_is_judged_by_a_test_dataset(data: Path) -> None:
    manifest = tiny.job(data, spec={"checkpoint": {"best": {"metric": "tiny_val/bbox/AP"}}})
    assert problems(manifest) == [
        "spec.checkpoint.best.metric: tiny_val/bbox/AP begins with none of the test datasets: tiny_test"
    ]
    manifest["spec"]["datasets"].pop()
    assert problems(manifest) == [
        "spec.checkpoint.best: needs a dataset with split test, by whose evaluation to tell which is best"
    ]


def test_early_stopping_needs_something_to_watch(data: Path) -> None:
    options = {"earlyStopping": {"patience": 2}}
    assert problems(tiny.job(data, spec={"training": options}, overrides=("TEST.EVAL_PERIOD 0",))) == [
        "spec.training.earlyStopping: needs evaluations during training: set TEST.EVAL_PERIOD",
        "spec.training.earlyStopping: needs spec.checkpoint.best, whose metric it watches",
    ]
    assert problems(tiny.job(data, spec={"training": options, "checkpoint": {"best": {}}})) == []


def test_a_batch_is_accumulated_in_whole_images(data: Path) -> None:
    options = {"gradientAccumulation": 3, "precision": "float16"}
    assert problems(tiny.job(data, spec={"training": options}), world_size=2) == [
        "spec.training.gradientAccumulation: 3 parts cannot be made of 2 images a process",
        "spec.training.precision: float16 needs a GPU and this process sees none; bfloat16 does not",
    ]


def with_dataset(data: Path, **fields: Any) -> dict[str, Any]:
    manifest = tiny.job(data)
    manifest["spec"]["datasets"][0] |= fields
    return manifest


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ("SOLVER.IMS_PER_BATCH 3",),
            "SOLVER.IMS_PER_BATCH 3 is the batch of all processes together and must be divisible by their "
            "number, 2",
        ),
        (("SOLVER.MAX_ITER 0",), "SOLVER.MAX_ITER must be at least 1, not 0"),
        (("SOLVER.CHECKPOINT_PERIOD 0",), "SOLVER.CHECKPOINT_PERIOD must be at least 1, not 0"),
        (("SOLVER.AMP.ENABLED True",), "SOLVER.AMP.ENABLED needs a GPU, and this process sees none"),
        (
            ("TEST.AUG.ENABLED True", "MODEL.META_ARCHITECTURE SemanticSegmentor"),
            "TEST.AUG.ENABLED needs a GeneralizedRCNN, not a SemanticSegmentor",
        ),
        (
            ("DATALOADER.SAMPLER_TRAIN Best",),
            "DATALOADER.SAMPLER_TRAIN Best is none of TrainingSampler, RepeatFactorTrainingSampler, "
            "RandomSubsetTrainingSampler",
        ),
        (
            ("DATASETS.TRAIN ('unheard_of',)",),
            "DATASETS.TRAIN names unheard_of, which is not registered; is a plugin missing?",
        ),
        (
            ("DATASETS.TEST ('lvis_v1_val',)",),
            "DATASETS.TEST lvis_v1_val wants the evaluator lvis, none of coco, sem_seg, coco_panoptic_seg",
        ),
    ],
)
def test_settings(data: Path, overrides: tuple[str, ...], expected: str) -> None:
    manifest = tiny.job(data, overrides=("MODEL.DEVICE cpu", *overrides))
    assert problems(manifest, world_size=2) == [f"spec.config: {expected}"]


def test_meta_architecture(data: Path) -> None:
    (problem,) = problems(tiny.job(data, overrides=("MODEL.META_ARCHITECTURE Mine",)))
    assert problem.startswith("spec.config: MODEL.META_ARCHITECTURE Mine is none of ")
    assert "RetinaNet" in problem


def test_reference_world_size_scales_the_batch(data: Path) -> None:
    found = inspection(tiny.job(data, overrides=("SOLVER.REFERENCE_WORLD_SIZE 2",)), 4)
    assert found.problems == ()
    assert found.cfg.SOLVER.IMS_PER_BATCH == 8


def test_class_count(data: Path) -> None:
    manifest = tiny.job(data, overrides=("MODEL.ROI_HEADS.NUM_CLASSES 80",))
    message = "has 3 categories, but MODEL.ROI_HEADS.NUM_CLASSES is 80"
    assert problems(manifest) == [f"spec.datasets[{i}].annotations: {message}" for i in (0, 1)]


def test_class_count_is_read_where_the_architecture_reads_it(data: Path) -> None:
    # The RPN knows no classes, RetinaNet has a number of its own.
    assert problems(tiny.job(data, overrides=("MODEL.META_ARCHITECTURE ProposalNetwork",))) == []
    (first, _) = problems(tiny.job(data, overrides=("MODEL.META_ARCHITECTURE RetinaNet",)))
    assert first.endswith("has 3 categories, but MODEL.RETINANET.NUM_CLASSES is 80")


def test_weights_that_are_not_there(data: Path) -> None:
    manifest = tiny.job(data, spec={"weights": {"source": "/nowhere.pth"}})
    assert problems(manifest) == ["spec.weights.source: /nowhere.pth (MODEL.WEIGHTS) does not exist"]


def test_files_and_folders_that_are_not_there(data: Path) -> None:
    manifest = with_dataset(data, annotations="/nowhere.json")
    assert problems(manifest) == ["spec.datasets[0].annotations: /nowhere.json does not exist"]


def test_folder_of_images_that_is_not_there(data: Path) -> None:
    manifest = with_dataset(data, images="/nowhere")
    assert problems(manifest) == ["spec.datasets[0].images: the folder /nowhere does not exist"]


def test_folder_that_holds_other_images(data: Path, tmp_path: Path) -> None:
    (tmp_path / "1.png").touch()
    manifest = with_dataset(data, images=str(tmp_path))
    assert problems(manifest) == [f"spec.datasets[0].images: {tmp_path} does not hold 2.png, 3.png, 4.png"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "Input data was truncated"),
        ("[]", "Expected `object`, got `array`"),
        ("{}", "Object missing required field `images`"),
        ('{"images": [], "annotations": [], "categories": []}', "it has no images"),
        (
            '{"images": [{"id": 1, "file_name": "1.png", "width": 64}], "annotations": [], "categories": []}',
            "Object missing required field `height` - at `$.images[0]`",
        ),
    ],
)
def test_files_that_are_no_annotations(data: Path, tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "annotations.json"
    path.write_text(content)
    (problem,) = problems(with_dataset(data, annotations=str(path)))
    assert problem.startswith(
        f"spec.datasets[0].annotations: {path} is not a COCO annotation file: {expected}"
    )


def test_datasets_agree_on_their_categories(data: Path, tmp_path: Path) -> None:
    document = json.loads((data / "test" / "annotations.json").read_text())
    document["categories"][0]["name"] = "purple"
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    manifest = tiny.job(data)
    manifest["spec"]["datasets"][1]["annotations"] = str(tmp_path / "annotations.json")
    assert problems(manifest) == ["spec.datasets[1].annotations: has other categories than spec.datasets[0]"]


def test_a_name_that_is_taken(data: Path) -> None:
    manifest = with_dataset(data, name="coco_2017_val")
    message = "coco_2017_val is registered already, by Detectron2 or a plugin: choose another name"
    assert problems(manifest) == [f"spec.datasets[0].name: {message}"]


@pytest.mark.parametrize(
    ("keypoints", "overrides", "expected"),
    [
        (CORNERS, ("MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS 4",), []),
        (
            CORNERS,
            (),
            [
                "spec.config: TEST.KEYPOINT_OKS_SIGMAS has 4 values for 17 keypoints",
                "spec.datasets[0].keypoints: has 4 names, but MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS is 17",
            ],
        ),
        (
            None,
            (),
            [
                "spec.datasets[0].annotations: 8 instances have 4 keypoints; without a keypoints field a "
                "person has 17"
            ],
        ),
    ],
)
def test_keypoints(
    data: Path, keypoints: dict[str, Any] | None, overrides: tuple[str, ...], expected: list[str]
) -> None:
    manifest = tiny.job(data, overrides=("MODEL.KEYPOINT_ON True", *overrides))
    manifest["spec"]["datasets"] = manifest["spec"]["datasets"][:1]
    if keypoints:
        manifest["spec"]["datasets"][0]["keypoints"] = keypoints
    assert problems(manifest) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise ValueError('bad luck')", "ValueError: bad luck"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def (", "SyntaxError: invalid syntax (broken_plugin.py, line 1)"),
    ],
)
def test_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, expected: str) -> None:
    (tmp_path / "broken_plugin.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "broken_plugin", raising=False)
    (problem,) = import_plugins(["broken_plugin"])
    assert str(problem) == f"spec.plugins[0]: broken_plugin cannot be imported: {expected}"


def test_code_is_found_in_the_folder_that_stands_for_its_config_map(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "module_of_a_map.py").write_text("raise ValueError('found')")
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = {"code": [{"configMapName": "modules"}], "plugins": ["module_of_a_map"]}
    job = parse_job(json.dumps(tiny.job(data, spec=spec)))
    mounts = Mounts({"/opt/detectron/code/modules": str(tmp_path)})
    found = inspect(job, Path("/output"), mounts, 1, data=DataCheck.WHOLE, gpus=False)
    message = "spec.plugins[0]: module_of_a_map cannot be imported: ValueError: found"
    assert [str(problem) for problem in found.problems] == [message]


def test_a_plugin_comes_before_the_config(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """It may bring config keys, datasets and architectures of its own."""
    source = """
from detectron2.config.defaults import _C
from detectron2.data import DatasetCatalog
from detectron2.modeling import META_ARCH_REGISTRY, RetinaNet
_C.MY_KEY = 1
DatasetCatalog.register("of_a_plugin", list)
@META_ARCH_REGISTRY.register()
class OfAPlugin(RetinaNet): ...
"""
    (tmp_path / "good_plugin.py").write_text(source)
    request.addfinalizer(lambda: _C.pop("MY_KEY"))
    monkeypatch.syspath_prepend(str(tmp_path))
    manifest = tiny.job(
        data,
        spec={"plugins": ["good_plugin"]},
        overrides=("MODEL.META_ARCHITECTURE OfAPlugin", "DATASETS.TRAIN ('of_a_plugin',)", "MY_KEY 2"),
    )
    assert problems(manifest) == []


def test_a_trainer_of_the_user_s_own_decides_on_more(data: Path) -> None:
    """What only our loop refuses is its business, and what only our loop does is not."""
    manifest = tiny.job(data, overrides=("TEST.EXPECTED_RESULTS [['bbox', 'AP', 38.5, 0.2]]",))
    assert problems(manifest) == ["spec.config: TEST.EXPECTED_RESULTS is not supported"]
    manifest["spec"]["trainer"] = "tests.trainer.tiny:job"
    assert problems(manifest) == []
    manifest["spec"]["checkpoint"] = {"best": {}}
    manifest["spec"]["training"] = {"maxUnreadableImages": 3}
    best, training = problems(manifest)
    assert best.startswith("spec.checkpoint.best: is of our own loop, which spec.trainer replaces")
    assert training == "spec.training.maxUnreadableImages: is of our own loop, which spec.trainer replaces"
