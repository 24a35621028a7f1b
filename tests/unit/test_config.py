"""The manifest's config merged as Detectron2 would, and what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from detectron_trainer.job.config import merge_config
from detectron_trainer.job.manifest import Job, parse_job
from detectron_trainer.job.pod import Mounts
from detectron_trainer.job.weight_source import HOSTED

OUTPUT = Path("/output")
RETINANET = "COCO-Detection/retinanet_R_50_FPN_1x.yaml"


def job(inline: str = "", overrides: tuple[str, ...] = (), base: str = RETINANET, **spec: Any) -> Job:
    datasets = [
        {"name": "d_train", "split": "train", "annotations": "/data/a.json", "images": "/data/a"},
        {"name": "d_test", "split": "test", "annotations": "/data/b.json", "images": "/data/b"},
    ]
    manifest = {
        "apiVersion": "detectron.dev/v1alpha1",
        "kind": "DetectronTrainingJob",
        "metadata": {"name": "d"},
        "spec": {
            "config": {"base": base, "inline": inline, "overrides": list(overrides)},
            "datasets": datasets,
            "output": {"ephemeral": True},
            **spec,
        },
    }
    return parse_job(json.dumps(manifest))


def merged(job: Job, mounts: Mounts | None = None) -> Any:
    cfg, problems = merge_config(job, OUTPUT, mounts or Mounts(), gpus=False)
    assert problems == []
    return cfg


def problems(job: Job) -> list[str]:
    return [str(problem) for problem in merge_config(job, OUTPUT, Mounts(), gpus=False)[1]]


def test_later_sources_win() -> None:
    cfg = merged(job("SOLVER: {BASE_LR: 0.5, MAX_ITER: 7}", ("SOLVER.MAX_ITER 8",)))
    assert cfg.MODEL.META_ARCHITECTURE == "RetinaNet"
    assert cfg.SOLVER.BASE_LR == 0.5
    assert cfg.SOLVER.MAX_ITER == 8


def test_datasets_weights_and_output_come_from_the_manifest() -> None:
    cfg = merged(job(weights={"random": True}))
    assert cfg.DATASETS.TRAIN == ("d_train",)
    assert cfg.DATASETS.TEST == ("d_test",)
    assert cfg.MODEL.WEIGHTS == ""
    assert cfg.OUTPUT_DIR == "/output"
    assert merged(job()).MODEL.WEIGHTS == HOSTED + "ImageNetPretrained/MSRA/R-50.pkl"


def test_weights_that_nobody_has() -> None:
    wanted = "COCO-Detection/faster_rcnn_R_50_FPN_3y.yaml"
    (problem,) = problems(job(weights={"source": wanted}))
    assert problem.startswith(f"spec.weights.source: {wanted} names no weights of Detectron2's, did you mean")
    (problem,) = problems(job(overrides=("MODEL.WEIGHTS w.pth",)))
    assert problem.startswith("spec.config: w.pth names no weights")


def test_an_override_may_name_a_plugin_s_dataset() -> None:
    assert merged(job(overrides=("DATASETS.TRAIN ('from_plugin',)",))).DATASETS.TRAIN == ("from_plugin",)


def test_without_datasets_the_config_names_them() -> None:
    cfg = merged(job("DATASETS: {TRAIN: [mine], TEST: [yours]}", datasets=[]))
    assert (cfg.DATASETS.TRAIN, cfg.DATASETS.TEST) == (("mine",), ("yours",))


def test_values_are_python_literals_or_strings() -> None:
    overrides = ("SOLVER.STEPS (1, 2)", "MODEL.WEIGHTS /a b.pth", "SOLVER.BASE_LR 1e-3", "MODEL.MASK_ON True")
    cfg = merged(job(overrides=overrides))
    assert cfg.SOLVER.STEPS == (1, 2)
    assert cfg.MODEL.WEIGHTS == "/a b.pth"
    assert cfg.SOLVER.BASE_LR == 0.001
    assert cfg.MODEL.MASK_ON is True


def test_the_inline_base_comes_between() -> None:
    inline = "_BASE_: COCO-Detection/faster_rcnn_R_101_FPN_3x.yaml\nSOLVER: {BASE_LR: 0.5}"
    cfg = merged(job(inline))
    assert cfg.MODEL.META_ARCHITECTURE == "GeneralizedRCNN"
    assert cfg.MODEL.RESNETS.DEPTH == 101
    assert cfg.SOLVER.BASE_LR == 0.5


def test_a_file_of_one_s_own_brings_its_base_along(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("SOLVER: {BASE_LR: 0.5, MAX_ITER: 3}")
    (tmp_path / "mine.yaml").write_text("_BASE_: base.yaml\nSOLVER: {MAX_ITER: 4}")
    cfg = merged(job(base="/config/mine.yaml"), Mounts({"/config": str(tmp_path)}))
    assert cfg.SOLVER.BASE_LR == 0.5
    assert cfg.SOLVER.MAX_ITER == 4


def test_local_weights_are_found_through_the_mounts() -> None:
    cfg = merged(job(weights={"source": "/weights/r50.pkl"}), Mounts({"/weights": "/home/me"}))
    assert cfg.MODEL.WEIGHTS == "/home/me/r50.pkl"


def test_sigmas_come_from_the_dataset_s_keypoints() -> None:
    keypoints = {"names": ["left", "right"], "sigmas": [0.1, 0.2]}
    dataset = {"name": "d", "split": "train", "annotations": "/a", "images": "/b", "keypoints": keypoints}
    inline = "MODEL: {KEYPOINT_ON: true}"
    assert merged(job(inline, datasets=[dataset])).TEST.KEYPOINT_OKS_SIGMAS == [0.1, 0.2]
    own = f"{inline}\nTEST: {{KEYPOINT_OKS_SIGMAS: [0.3, 0.3]}}"
    assert merged(job(own, datasets=[dataset])).TEST.KEYPOINT_OKS_SIGMAS == [0.3, 0.3]


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (
            job("SOLVER: {BASE_LRR: 0.1}"),
            "spec.config.inline: unknown key SOLVER.BASE_LRR, did you mean SOLVER.BASE_LR?",
        ),
        (job("SOLVERS: {BASE_LR: 0.1}"), "spec.config.inline: unknown key SOLVERS, did you mean SOLVER?"),
        (job("NONSENSE_XYZ: 1"), "spec.config.inline: unknown key NONSENSE_XYZ"),
        (
            job("SOLVER: {MAX_ITER: many}"),
            "spec.config.inline: SOLVER.MAX_ITER must be of type int, such as 90000, not 'many'",
        ),
        (job("SOLVER: 3"), "spec.config.inline: SOLVER is a section of keys and cannot be set to 3"),
        (job("[1, 2]"), "spec.config.inline: must be a mapping of config keys, not list"),
        (job("OUTPUT_DIR: /x"), "spec.config.inline: OUTPUT_DIR is set from spec.output"),
        (
            job("DATASETS: {TRAIN: [x]}"),
            "spec.config.inline: DATASETS.TRAIN is set from spec.datasets; a plugin's dataset is named in "
            "spec.config.overrides",
        ),
        (
            job("VERSION: 1"),
            "spec.config.inline: is a config of VERSION 1; version 2 is needed",
        ),
        (
            job("_BASE_: nowhere.yaml"),
            "spec.config.inline._BASE_: nowhere.yaml is not in Detectron2's model zoo; a file of your own is "
            "named by its absolute path",
        ),
        (
            job(overrides=("SOLVER.GAMA 0.1",)),
            "spec.config.overrides[0]: unknown key SOLVER.GAMA, did you mean SOLVER.GAMMA?",
        ),
        (job(overrides=("OUTPUT_DIR /x",)), "spec.config.overrides[0]: OUTPUT_DIR is set from spec.output"),
        (
            job(base="COCO-Detection/retinanet_R_50_FPN_2x.yaml"),
            "spec.config.base: COCO-Detection/retinanet_R_50_FPN_2x.yaml is not in Detectron2's model zoo, "
            "did you mean COCO-Detection/retinanet_R_50_FPN_3x.yaml?",
        ),
        (job(base="/nowhere/x.yaml"), "spec.config.base: /nowhere/x.yaml does not exist"),
        (
            job(base="common/train.py"),
            "spec.config.base: common/train.py is a Lazy config; a yaml config is needed",
        ),
    ],
)
def test_names_the_problem(bad: Job, expected: str) -> None:
    assert problems(bad) == [expected]


def test_yaml_that_evaluates_is_refused_inline() -> None:
    (problem,) = problems(job("SOLVER: {STEPS: !!python/object/apply:eval ['(1, 2)']}"))
    assert problem.startswith("spec.config.inline: is not plain yaml: could not determine a constructor")


def test_all_problems_are_found_at_once() -> None:
    bad = job("SOLVER: {BASE_LRR: 1, MAX_ITER: x}\nMODELL: {}", ("A 1", "B 2"), base="nowhere.yaml")
    assert len(problems(bad)) == 6
