"""Lazy configs: Detectron2's own load, mistakes are named, and a run keeps what yaml runs are promised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from detectron_trainer.job.config import ZOO
from detectron_trainer.job.lazy_config import load_lazy_config, settings
from detectron_trainer.job.manifest import parse_job
from detectron_trainer.job.pod import Mounts
from detectron_trainer.recipe.lazy_recipe import LazyRecipe
from tests.trainer.conftest import ROOT, Launcher, without_durations

EXAMPLES = ROOT / "examples" / "user_code"
MASK_RCNN = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.py"
OUTPUT = Path("/output")
NO_DETECTORS = {"Misc/torchvision_imagenet_R_50.py", "Misc/mmdet_mask_rcnn_R_50_FPN_1x.py"}
"""A classifier, and a model of another library."""


def job(base: str, **spec: Any) -> Any:
    config = {"base": base, **spec.pop("config", {})}
    manifest = {
        "apiVersion": "detectron.dev/v1alpha1",
        "kind": "DetectronTrainingJob",
        "metadata": {"name": "lazy"},
        "spec": {"config": config, "output": {"ephemeral": True}, **spec},
    }
    return parse_job(json.dumps(manifest))


def problems(base: str, **spec: Any) -> list[str]:
    tree, found = load_lazy_config(job(base, **spec), Mounts())
    if tree is not None:
        found = [*found, *settings(tree, OUTPUT, Mounts(), gpus=True)[1]]
    return [str(problem) for problem in found]


def zoo() -> list[str]:
    files = [str(path.relative_to(ZOO)) for path in ZOO.rglob("*.py")]
    return sorted(name for name in files if not name.startswith("common/") and name not in NO_DETECTORS)


@pytest.mark.parametrize("name", zoo())
def test_detectron2_s_own_configs_load(name: str) -> None:
    tree, found = load_lazy_config(job(name), Mounts())
    assert found == []
    assert tree is not None
    cfg, found = settings(tree, OUTPUT, Mounts(), gpus=True)
    assert found == []
    assert tree.train.max_iter == cfg.SOLVER.MAX_ITER
    assert tree.dataloader.train.total_batch_size == cfg.SOLVER.IMS_PER_BATCH
    assert yaml.safe_load(LazyRecipe(tree).dump(cfg))["train"]["max_iter"] == tree.train.max_iter


def test_later_sources_win() -> None:
    config = {"inline": "train: {max_iter: 7, eval_period: 3}", "overrides": ["train.max_iter 8"]}
    weights = {"source": "/weights/w.pth"}
    tree, found = load_lazy_config(job(MASK_RCNN, config=config, weights=weights), Mounts())
    assert found == []
    assert tree is not None
    cfg, found = settings(tree, OUTPUT, Mounts({"/weights": "/home/me"}), gpus=False)
    assert found == []
    assert (cfg.SOLVER.MAX_ITER, cfg.TEST.EVAL_PERIOD, cfg.SOLVER.BASE_LR) == (8, 3, 0.02)
    assert (cfg.MODEL.WEIGHTS, cfg.MODEL.DEVICE, cfg.OUTPUT_DIR) == ("/home/me/w.pth", "cpu", "/output")
    assert cfg.DATASETS.TRAIN == ("coco_2017_train",)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"config": {"overrides": ["train.max_itr 8"]}},
            "spec.config.overrides[0]: unknown key train.max_itr, did you mean train.max_iter?",
        ),
        (
            {"config": {"inline": "model: {roi_heads: {box_head: {conv_dim: [1]}}}"}},
            "spec.config.inline: unknown key model.roi_heads.box_head.conv_dim, did you mean",
        ),
        (
            {"config": {"overrides": ["train.output_dir /x"]}},
            "spec.config.overrides[0]: train.output_dir is set from spec.output",
        ),
        (
            {"config": {"overrides": ["train.max_iter many"]}},
            "spec.config: train.max_iter must be of type int, not 'many'",
        ),
        (
            {"config": {"overrides": ["train.max_iter [1"]}},
            "spec.config.overrides[0]: train.max_iter cannot be set",
        ),
        (
            {"config": {"overrides": ["train.ddp.broadcast_buffers true"]}},
            "spec.config.base: train.ddp.broadcast_buffers is not supported",
        ),
        ({"mapper": "a:b"}, "spec.mapper: is for a yaml config"),
        ({"trainer": "a:b"}, "spec.trainer: is for a yaml config"),
        ({"weights": {"source": "w.pth"}}, "spec.config: train.init_checkpoint: w.pth names no weights"),
    ],
)
def test_mistakes_are_named(spec: dict[str, Any], expected: str) -> None:
    (problem,) = problems(MASK_RCNN, **spec)
    assert problem.startswith(expected)


def test_what_is_no_lazy_config(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_the_kind")
    (tmp_path / "empty.py").write_text("train = {'max_iter': 1}")
    assert problems("/nowhere.py") == ["spec.config.base: /nowhere.py does not exist"]
    (broken,) = problems(str(tmp_path / "broken.py"))
    assert "ModuleNotFoundError: No module named 'nothing_of_the_kind'" in broken
    (empty,) = problems(str(tmp_path / "empty.py"))
    assert "has no model, optimizer, lr_multiplier, dataloader.train, dataloader.test" in empty


def example(*overrides: str) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load((EXAMPLES / "lazy-config.yaml").read_text())
    manifest["spec"]["config"]["overrides"] += ["train.max_iter 4", "train.eval_period 2", *overrides]
    manifest["spec"]["metrics"] = {"period": 1}
    return manifest


def test_a_lazy_config_trains_and_goes_on_exactly(launcher: Launcher, digits: Path) -> None:
    environment = {"DETECTRON_PATHS": json.dumps({"/data": str(digits), "/code": str(EXAMPLES)})}
    job = example(
        "model._target_ tests.trainer.faults.FaultyRCNN",
        "model.roi_heads.box_predictor.test_score_thresh 0.0",
        "train.ddp.fp16_compression true",
    )
    whole = launcher.run(job, environment=environment, processes=2)
    assert whole.verdict["reason"] == "Completed", whole.log
    assert [row["iteration"] for row in whole.rows] == [0, 1, 2, 3]
    assert {"total_loss", "loss_mask", "lr"} <= whole.rows[0].keys()
    metrics = [metric["name"] for metric in whole.message["evaluation"]["metrics"]]
    assert "digits_validation/segm/AP" in metrics
    assert "lr_multiplier:" in (whole.output / "config.yaml").read_text()

    fault = {"kind": "sigterm", "rank": 1, "step": 1}
    stopped = launcher.run(job, environment=environment, processes=2, fault=fault)
    assert stopped.verdict["reason"] == "Preempted", stopped.log
    resumed = launcher.run(job, environment=environment, processes=2, output=stopped.output, attempt=1)
    assert resumed.verdict["reason"] == "Completed", resumed.log
    assert without_durations(resumed.rows) == without_durations(whole.rows)
    ours, theirs = (
        torch.load(run.output / "model_final.pth", weights_only=True)["model"] for run in (resumed, whole)
    )
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
