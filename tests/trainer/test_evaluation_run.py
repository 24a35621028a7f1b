"""Evaluating without training, and the losses on images that training does not see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml

from tests.trainer import tiny
from tests.trainer.conftest import ROOT, Launcher, Run, without_durations

EXAMPLES = ROOT / "examples" / "user_code"
ONLY = {"evaluation": {"only": True, "loss": True}}


def evaluation(run: Run) -> dict[str, Any]:
    return {metric["name"]: metric["value"] for metric in run.message["evaluation"]["metrics"]}


def validation(row: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name.startswith("validation/")}


def test_weights_are_evaluated_as_training_did(
    launcher: Launcher, alone: Run, tiny_data: Path, tmp_path: Path
) -> None:
    weights = {"source": str(alone.output / "model_final.pth")}
    job = tiny.job(tiny_data, spec={**ONLY, "weights": weights})
    job["spec"]["datasets"] = [data for data in job["spec"]["datasets"] if data["split"] == "test"]
    run = launcher.run(job, processes=2)
    assert run.verdict["reason"] == "Completed", run.log
    assert run.verdict["message"] == "evaluated after 0 iterations"
    assert (run.message["iteration"], run.message["progressPercentage"]) == (0, 100)
    assert evaluation(run) == evaluation(alone)
    assert not list(run.output.glob("*.pth"))
    (row,) = run.rows
    losses = {"loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc"}
    assert validation(row).keys() == {f"validation/{name}" for name in {"total_loss", *losses}}


def test_a_checkpoint_is_evaluated_again_after_a_stop(
    launcher: Launcher, alone: Run, tiny_data: Path
) -> None:
    output = launcher.copy(alone.output)
    job = tiny.job(
        tiny_data,
        spec={**ONLY, "plugins": ["tests.trainer.faults"]},
        overrides=("MODEL.META_ARCHITECTURE FaultyRCNN",),
    )
    fault = {"kind": "evaluation-sigterm", "rank": 0, "step": 1}
    stopped = launcher.run(job, output=output, attempt=1, fault=fault)
    assert (stopped.verdict["reason"], stopped.verdict["retryable"]) == ("Preempted", True), stopped.log

    run = launcher.run(job, output=output, attempt=2)
    assert run.verdict["message"] == "evaluated after 12 iterations", run.log
    assert evaluation(run) == evaluation(alone)
    ours, theirs = without_durations(run.rows), without_durations(alone.rows)
    assert ours[:-1] == theirs[:-1]
    assert {name: value for name, value in ours[-1].items() if name not in validation(ours[-1])} == theirs[-1]


def test_nothing_to_evaluate(launcher: Launcher, tiny_data: Path) -> None:
    run = launcher.run(tiny.job(tiny_data, spec=ONLY))
    assert run.verdict["reason"] == "InvalidConfig", run.log
    assert run.verdict["message"].startswith("spec.weights: nothing to evaluate")


def test_validation_losses_do_not_disturb_training(launcher: Launcher, alone: Run, tiny_data: Path) -> None:
    run = launcher.run(tiny.job(tiny_data, spec={"evaluation": {"loss": True}}))
    assert run.verdict["reason"] == "Completed", run.log
    rows = [validation(row) for row in run.rows]
    assert [index for index, values in enumerate(rows) if values] == [5, 11]
    assert rows[5]["validation/total_loss"] > rows[11]["validation/total_loss"] > 0
    bare = [{name: v for name, v in row.items() if name not in validation(row)} for row in run.rows]
    assert without_durations(bare) == without_durations(alone.rows)
    ours, theirs = (torch.load(one.output / "model_final.pth")["model"] for one in (run, alone))
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []


def test_the_example(launcher: Launcher, digits: Path, tmp_path: Path) -> None:
    manifest = yaml.safe_load((EXAMPLES / "evaluation.yaml").read_text())
    trained = {**manifest, "spec": {**manifest["spec"], "weights": {"random": True}}}
    trained["spec"]["evaluation"] = {}
    train = {"name": "d", "split": "train", "annotations": "/data/train.json", "images": "/data/train"}
    trained["spec"]["datasets"] = [train]
    trained["spec"]["config"] = {**manifest["spec"]["config"], "overrides": ["SOLVER.MAX_ITER 1"]}
    paths = {"/data": str(digits), "/code": str(EXAMPLES), "/models": str(tmp_path / "models")}
    environment = {"DETECTRON_PATHS": json.dumps(paths)}
    made = launcher.run(trained, environment=environment, output=tmp_path / "models")
    assert made.verdict["reason"] == "Completed", made.log
    run = launcher.run(manifest, environment=environment)
    assert run.verdict["message"] == "evaluated after 0 iterations", run.log
