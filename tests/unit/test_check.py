"""`detectron-trainer check`: what people, programs and pods are told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip
from detectron2.data import DatasetCatalog, MetadataCatalog

from detectron_trainer.command.cli import main
from detectron_trainer.progress.document import Progress
from detectron_trainer.progress.parts import Reason
from tests.trainer import tiny

Check = Callable[..., int]


@pytest.fixture
def check(tmp_path: Path) -> Iterator[Check]:
    """Runs the command on the tiny job of two nodes, with its data in a volume."""
    data = tmp_path / "data"
    tiny.write_dataset(data / "train", 6, seed=1)
    tiny.write_dataset(data / "test", 2, seed=2)

    def command(*arguments: str, **spec: Any) -> int:
        job = tiny.job(Path("/data"), spec={"numNodes": 2, **spec})
        job["spec"]["volumes"] = [{"name": "data", "claimName": "tiny-data", "mountPath": "/data"}]
        (tmp_path / "job.yaml").write_text(json.dumps(job))
        return main(["check", str(tmp_path / "job.yaml"), "--volume", f"data={data}", *arguments])

    yield command
    for name in ("tiny_train", "tiny_test"):
        if name in DatasetCatalog:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


def test_a_person_sees_classes_warnings_and_what_the_job_comes_to(
    check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check("--set", "SOLVER.BASE_LR 0.1", "--set", "SOLVER.MAX_ITER 60") == 0
    told = capsys.readouterr()
    assert "tiny_train (train): 6 images, 12 annotations" in told.out
    assert all(name in told.out for name in tiny.CATEGORIES)
    assert "warning: spec.config: SOLVER.BASE_LR 0.1 at SOLVER.IMS_PER_BATCH 4" in told.out
    assert "no problems; 60 iterations of 4 images on 2 processes, 40 epochs" in told.out
    assert told.err == ""


def test_a_program_is_told_everything_as_json(check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    assert check("--output", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == found["warnings"] == []
    assert found["training"] == {
        "iterations": 12, "imagesPerIteration": 4, "processes": 2, "images": 6, "epochs": 8.0
    }  # fmt: skip
    train, test = found["datasets"]
    assert (train["name"], train["split"], train["images"], train["imagesLookedFor"]) == (
        "tiny_train", "train", 6, 6
    )  # fmt: skip
    assert [one["name"] for one in test["classes"]] == list(tiny.CATEGORIES)
    assert sum(one["instances"] for one in test["classes"]) == test["annotations"] == 4


def test_problems_of_the_manifest_itself_are_json_too(
    check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check("--output", "json", numNodez=3) == 2
    problem = {"path": "spec.numNodez", "message": "unknown field, did you mean numNodes?"}
    assert json.loads(capsys.readouterr().out) == {"problems": [problem], "warnings": []}


def test_a_lazy_config_is_checked_in_its_own_words(check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    lazy = {"base": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.py"}
    changes = [*("--set", "model.roi_heads.num_classes 3"), *("--set", "dataloader.train.total_batch_size 5")]
    assert check(*changes, config=lazy) == 2
    assert "spec.config: dataloader.train.total_batch_size 5 is the batch of all" in capsys.readouterr().err
    assert check(config={"base": "/data/nowhere.py"}) == 2
    assert "spec.config.base: /data/nowhere.py does not exist" in capsys.readouterr().err


def test_an_evaluation_is_no_training(check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(evaluation={"only": True}) == 0
    assert "no problems; an evaluation on 2 processes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("iterations", "reason", "message"),
    [
        (0, Reason.INVALID_CONFIG, "spec.config: SOLVER.MAX_ITER must be at least 1, not 0"),
        (9, Reason.COMPLETED, "no problems; 9 iterations of 4 images on 2 processes, 6 epochs"),
    ],
)
def test_a_pod_leaves_the_verdict_of_a_training_pod(
    check: Check, tmp_path: Path, iterations: int, reason: Reason, message: str
) -> None:
    log = tmp_path / "termination-log"
    check("--set", f"SOLVER.MAX_ITER {iterations}", "--set", "SOLVER.STEPS ()", "--termination-log", str(log))
    verdict = Progress.from_json(log.read_bytes()).verdict
    assert verdict is not None
    assert (verdict.reason, verdict.message, verdict.retryable) == (reason, message, False)


def test_a_pod_s_verdict_has_the_warnings(check: Check, tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    check("--set", "SOLVER.BASE_LR 0.1", "--termination-log", str(log))
    verdict = Progress.from_json(log.read_bytes()).verdict
    assert verdict is not None
    assert verdict.reason == Reason.COMPLETED
    assert "\nwarning: spec.config: SOLVER.BASE_LR 0.1" in verdict.message


def test_the_job_s_gpus_count_and_not_this_machine_s(
    check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    training = {"precision": "float16"}
    assert check(training=training, resourcesPerNode={"limits": {"nvidia.com/gpu": 2}}) == 0
    assert check(training=training) == 2
    assert "float16 needs a GPU" in capsys.readouterr().err


def test_of_many_classes_the_most_and_the_least_frequent_are_shown(
    check: Check, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data" / "train" / "annotations.json"
    document = json.loads(path.read_text())
    document["categories"] += [{"id": number, "name": f"extra {number:02}"} for number in range(4, 41)]
    path.write_text(json.dumps(document))
    (tmp_path / "data" / "test" / "annotations.json").write_text(path.read_text())
    check("--set", "MODEL.ROI_HEADS.NUM_CLASSES 40")
    told = capsys.readouterr().out
    assert "... 20 between" in told
    assert "extra 40" in told
    assert "extra 20" not in told
