"""What experiment trackers are told. Their packages are stood in for: nothing here needs them installed."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from detectron2.utils.events import EventStorage

from detectron_trainer.job.manifest import parse_job
from detectron_trainer.job.pod import Mounts
from detectron_trainer.metrics import trackers
from detectron_trainer.metrics.trackers import mlflow_writer, wandb_writer
from detectron_trainer.preflight.data import DataCheck
from detectron_trainer.preflight.inspection import inspect
from tests.trainer import tiny

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Tracker:
    """Takes the place of a package and notes what it is told."""

    begun: list[dict[str, Any]] = field(default_factory=list)
    told: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    ended: list[object] = field(default_factory=list)
    at_end: Callable[[], None] = lambda: None

    def init(self, **options: Any) -> Any:
        self.begun.append(options)
        return SimpleNamespace(log=lambda values, step: self.told.append((step, values)), finish=self.finish)

    def finish(self, exit_code: int) -> None:
        self.at_end()
        self.ended.append(exit_code)

    def create_run(self, experiment: str, run_name: str) -> Any:
        self.begun.append({"experiment": experiment, "name": run_name})
        return SimpleNamespace(info=SimpleNamespace(run_id="r1"))

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        return f"number of {name}"

    def update_run(self, run_id: str, status: str) -> None:
        self.ended.append((run_id, status))

    def log_batch(self, run_id: str, metrics: list[Any], synchronous: bool) -> Any:
        assert (run_id, synchronous) == ("r1", False)
        self.told += [(metric.step, {metric.key: metric.value}) for metric in metrics]
        return SimpleNamespace(wait=self.at_end)

    def set_terminated(self, run_id: str, status: str) -> None:
        self.ended.append((run_id, status))


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Tracker:
    tracker = Tracker()
    wandb, mlflow, entities = ModuleType("wandb"), ModuleType("mlflow"), ModuleType("mlflow.entities")
    vars(wandb)["init"] = tracker.init
    vars(mlflow)["MlflowClient"] = lambda tracking_uri: tracker
    vars(entities)["Metric"] = lambda key, value, timestamp, step: SimpleNamespace(
        key=key, value=value, step=step
    )
    for module in (wandb, mlflow, entities):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return tracker


def write_some(writer: Any) -> None:
    """Three values at two iterations, one of them no number; the second write has nothing new."""
    with EventStorage(0) as storage:
        storage.put_scalars(total_loss=2.0, broken=float("nan"))
        writer.write()
        storage.iter = 1
        storage.put_scalar("bbox/AP-red (dark)", 30.0, smoothing_hint=False)
        writer.write()
        writer.write()


def test_wandb_is_told_once_and_goes_on(tracker: Tracker, tmp_path: Path) -> None:
    for _ in range(2):
        writer = wandb_writer(tmp_path, "digits", project="p", entity=None, mode="offline")
        write_some(writer)
        writer.close()
    assert tracker.told == [(0, {"total_loss": 2.0}), (1, {"bbox/AP-red (dark)": 30.0})] * 2
    assert tracker.ended == [0, 0]
    first, second = tracker.begun
    assert first == second
    assert (first["project"], first["name"], first["mode"]) == ("p", "digits", "offline")
    assert (first["resume"], first["dir"], len(first["id"])) == ("allow", str(tmp_path), 16)


def test_mlflow_is_told_once_and_goes_on(tracker: Tracker, tmp_path: Path) -> None:
    for _ in range(2):
        writer = mlflow_writer(
            tmp_path, "digits", lambda: NOW, tracking_uri="http://127.0.0.1:1", experiment="e"
        )
        write_some(writer)
        writer.close()
    assert tracker.told == [(0, {"total_loss": 2.0}), (1, {"bbox/AP-red _dark_": 30.0})] * 2
    assert tracker.begun == [{"experiment": "number of e", "name": "digits"}]
    assert tracker.ended == [("r1", "RUNNING"), ("r1", "FINISHED")] * 2


def test_a_failed_run_is_told(tracker: Tracker, tmp_path: Path) -> None:
    writer = wandb_writer(tmp_path, "digits", project="p", entity=None, mode="offline")
    try:
        raise ValueError("the loss")
    except ValueError:
        writer.close()
    assert tracker.ended == [1]


def test_a_tracker_that_fails_or_hangs_does_not_change_the_end(
    tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    writer = wandb_writer(tmp_path, "digits", project="p", entity=None, mode="offline")

    def fail() -> None:
        raise ConnectionError("nobody there")

    tracker.at_end = fail
    writer.close()
    assert "Weights & Biases may lack the last values: ConnectionError: nobody there" in caplog.text

    monkeypatch.setattr(trackers, "CLOSE_SECONDS", 0.05)
    released = threading.Event()

    def hang() -> None:
        released.wait(60)

    tracker.at_end = hang
    writer.close()
    released.set()
    assert "it took longer than 0.05 s" in caplog.text


def test_a_missing_package_is_a_problem(tiny_data: Path) -> None:
    metrics = {
        "wandb": {"project": "p"},
        "mlflow": {"trackingUri": "http://127.0.0.1:1", "experiment": "e"},
    }
    manifest = tiny.job(tiny_data, spec={"metrics": metrics})
    for dataset in manifest["spec"]["datasets"]:
        dataset["name"] = f"tracked_{dataset['split']}"
    job = parse_job(json.dumps(manifest))
    found = inspect(job, Path("/output"), Mounts(), 1, data=DataCheck.NONE, gpus=False)
    assert [str(problem) for problem in found.problems] == [
        f"spec.metrics.{package}: needs the package {package}, which this image does not have: install "
        f"detectron-trainer[{package}] in one of yours"
        for package in ("mlflow", "wandb")
    ]
