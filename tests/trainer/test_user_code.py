"""The examples of user code, run as a user would run them, on a few small scenes of digits."""

from __future__ import annotations

import json
import os
import signal
import ssl
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

from examples.user_code import make_tickets
from tests.cluster.pki import Authority
from tests.trainer.conftest import ROOT, Launcher, Run, free_port

EXAMPLES = ROOT / "examples" / "user_code"
SHORT = ["SOLVER.MAX_ITER 6", "SOLVER.CHECKPOINT_PERIOD 2", "SOLVER.STEPS (5,)", "TEST.EVAL_PERIOD 3"]
LOSSES = {"loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc"}


def example(name: str, *overrides: str) -> dict[str, Any]:
    """The example's manifest, cut down to six iterations."""
    manifest: dict[str, Any] = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    manifest["spec"]["config"]["overrides"] = [*SHORT, *overrides]
    manifest["spec"].setdefault("metrics", {})["period"] = 1
    manifest["spec"]["checkpoint"] = {"keep": 2}
    return manifest


def paths(digits: Path, code: Path = EXAMPLES) -> Mapping[str, str]:
    return {"DETECTRON_PATHS": json.dumps({"/data": str(digits), "/code": str(code)})}


def names(output: Path) -> list[str]:
    return sorted(path.name for path in output.glob("model_*.pth"))


@pytest.fixture(scope="module", params=["plain-loop", "default-trainer", "trainer-base"])
def trained(request: pytest.FixtureRequest, launcher: Launcher, digits: Path) -> Run:
    """An example on two processes."""
    return launcher.run(example(request.param), processes=2, environment=paths(digits))


def test_trains_to_the_end(trained: Run) -> None:
    assert trained.process.returncode == 0, trained.log
    assert trained.verdict["reason"] == "Completed", trained.log
    assert trained.message["iteration"] == trained.message["maxIterations"] == 6
    assert {metric["name"] for metric in trained.message["metrics"]} >= {*LOSSES, "total_loss", "lr"}


def test_checkpoints_are_kept_as_the_job_says(trained: Run) -> None:
    assert names(trained.output) == ["model_0000003.pth", "model_0000005.pth", "model_final.pth"]
    assert trained.message["lastCheckpoint"]["iteration"] == 6


def test_evaluations_reach_the_progress_document(trained: Run) -> None:
    if "trainers:OwnTrainer" in (trained.folder / "job.yaml").read_text():
        assert "evaluation" not in trained.message
        return
    evaluation = trained.message["evaluation"]
    assert evaluation["iteration"] == 6
    values = {metric["name"] for metric in evaluation["metrics"]}
    assert {"digits_validation/bbox/AP", "digits_validation/segm/AP50"} <= values


def test_hooks_run(trained: Run) -> None:
    greetings = trained.log.count("Hello after")
    assert greetings == (0 if "plain_loop" in (trained.folder / "job.yaml").read_text() else 3)


def with_accident(name: str) -> dict[str, Any]:
    """The example with a model that has an accident where its environment says so."""
    manifest = example(name, "MODEL.META_ARCHITECTURE FaultyRCNN")
    return {**manifest, "spec": {**manifest["spec"], "plugins": ["tests.trainer.faults"]}}


def schedule_position(content: dict[str, Any]) -> int:
    """How many iterations the schedule of a checkpoint has seen."""
    hooks = content.get("trainer", {}).get("hooks", {})
    position: int = (hooks["LRScheduler"] if hooks else content["scheduler"])["last_epoch"]
    return position


@pytest.mark.parametrize("name", ["plain-loop", "default-trainer"])
def test_a_stop_saves_and_two_pods_go_on(launcher: Launcher, digits: Path, name: str) -> None:
    manifest = with_accident(name)
    fault = {"kind": "sigterm", "rank": 1, "step": 2}
    stopped = launcher.run(manifest, processes=2, fault=fault, environment=paths(digits))
    assert stopped.verdict["reason"] == "Preempted", stopped.log
    assert stopped.verdict["iteration"] == stopped.message["lastCheckpoint"]["iteration"] == 3
    assert (stopped.output / "last_checkpoint").read_text() == "model_0000002.pth"

    # The second pod has an output folder of its own, which is empty.
    first, second = launcher.run_two_pods(
        manifest, output=stopped.output, attempt=1, environment=paths(digits)
    )
    assert first.verdict["reason"] == second.verdict["reason"] == "Completed", first.log
    final = torch.load(first.output / "model_final.pth")
    assert final["iteration"] == 5
    assert schedule_position(final) == 6
    assert "optimizer" in (final["trainer"]["_trainer"] if "trainer" in final else final)
    iterations = [row["iteration"] for row in first.rows]
    assert sorted(set(iterations)) == iterations


def test_a_damaged_checkpoint_gives_way_to_the_one_before(launcher: Launcher, digits: Path) -> None:
    first = launcher.run(example("plain-loop"), environment=paths(digits))
    for name in ("model_final.pth", "model_0000005.pth"):
        os.truncate(first.output / name, 1000)
    again = launcher.run(example("plain-loop"), output=first.output, attempt=1, environment=paths(digits))
    assert again.verdict["reason"] == "Completed", again.log
    assert "the newest good checkpoint is model_0000003.pth, after 4 iterations" in again.log
    assert schedule_position(torch.load(first.output / "model_final.pth")) == 6


@pytest.mark.parametrize("name", ["plain-loop", "default-trainer"])
def test_a_loss_that_is_not_finite_is_the_verdict(launcher: Launcher, digits: Path, name: str) -> None:
    fault = {"kind": "nan", "rank": 0, "step": 1}
    run = launcher.run(with_accident(name), processes=2, fault=fault, environment=paths(digits))
    assert run.verdict["reason"] == "NonFiniteLoss", run.log
    assert (run.verdict["rank"], run.verdict["retryable"]) == (0, False)


def test_own_scalars_reach_prometheus_metrics_file_and_tensorboard(
    launcher: Launcher, digits: Path, tmp_path: Path
) -> None:
    """Over TLS, as the pod's certificate asks for."""
    authority = Authority(tmp_path, datetime.now(UTC))
    authority.issue("metrics", hosts=["127.0.0.1"]).write(tmp_path / "tls")
    port = free_port()
    manifest = example("custom-metrics", "SOLVER.MAX_ITER 100000", "TEST.EVAL_PERIOD 0")
    environment = {
        **paths(digits),
        "DETECTRON_METRICS_PORT": port,
        "DETECTRON_METRICS_TLS": str(tmp_path),
    }
    run = launcher.start(manifest, environment=environment)
    run.wait_for_row(2)
    trust = ssl.create_default_context(cafile=str(authority.path))
    with urllib.request.urlopen(f"https://127.0.0.1:{port}/metrics", timeout=10, context=trust) as answer:
        metrics = answer.read().decode()
    os.kill(run.process.pid, signal.SIGTERM)
    run.wait()
    assert run.verdict["reason"] == "Preempted", run.log
    names = {"digits/shown", "digits/share_of_mask"}
    for name in names:
        assert f'detectron_training_scalar{{name="{name}"}}' in metrics
    assert all(names <= row.keys() for row in run.rows)
    assert names <= set(EventAccumulator(str(run.output)).Reload().Tags()["scalars"])


def test_own_dataset_and_mapper(launcher: Launcher, digits: Path) -> None:
    run = launcher.run(example("custom-dataset"), processes=2, environment=paths(digits))
    assert run.verdict["reason"] == "Completed", run.log
    assert run.message["evaluation"]["iteration"] == 6
    values = {metric["name"] for metric in run.message["evaluation"]["metrics"]}
    assert "digit_scenes_validation/segm/AP50" in values


def test_own_keypoints(launcher: Launcher, tmp_path: Path) -> None:
    make_tickets.write_split(tmp_path, "train", 8, seed=1)
    make_tickets.write_split(tmp_path, "validation", 4, seed=2)
    run = launcher.run(example("keypoints"), environment=paths(tmp_path))
    assert run.verdict["reason"] == "Completed", run.log
    assert all("loss_keypoint" in row for row in run.rows)
    values = {metric["name"] for metric in run.message["evaluation"]["metrics"]}
    assert "tickets_validation/keypoints/AP50" in values


STUBBORN = """
import os, signal, sys
import torch
import torch.distributed as dist
from detectron2.utils.events import EventStorage


def main(cfg, resume):
    kind, asked = os.environ["KIND"], []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    if kind == "silent":
        os.kill(os.getpid(), signal.SIGTERM)
        return
    with EventStorage(0) as storage:
        for iteration in range(cfg.SOLVER.MAX_ITER):
            storage.iter = iteration
            if iteration == 2 and kind != "takes down" and dist.get_rank() == dist.get_world_size() - 1:
                os.kill(os.getpid(), signal.SIGTERM)
            anyone = torch.tensor([len(asked)])
            dist.all_reduce(anyone)
            if anyone and kind == "exits":
                sys.exit(0)
            if anyone and kind == "returns":
                return
    if kind == "takes down":
        dist.destroy_process_group()
"""


@pytest.mark.parametrize(
    ("kind", "processes", "reason", "iteration"),
    [
        ("returns", 2, "Preempted", 3),
        ("exits", 1, "Preempted", 2),
        ("silent", 1, "Preempted", 0),
        ("goes on", 1, "Completed", 6),
        ("takes down", 2, "Completed", 6),
    ],
)
def test_code_that_takes_the_signal_to_stop_itself(
    launcher: Launcher, digits: Path, tmp_path: Path, kind: str, processes: int, reason: str, iteration: int
) -> None:
    """However it leaves then, the job is complete after its last iteration only."""
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    manifest = example("plain-loop")
    manifest["spec"] |= {"trainer": "stubborn:main"}
    search = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**paths(digits), "KIND": kind, "PYTHONPATH": search}
    run = launcher.run(manifest, processes=processes, environment=environment)
    assert run.verdict["reason"] == reason, run.log
    assert (run.process.returncode == 0) == (reason == "Completed")
    assert run.verdict.get("iteration", run.message["iteration"]) == iteration
