"""Checkpoints written beside training: the state of their iteration, and every guarantee of the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip
from detectron_trainer.checkpointing.background import Snapshot
from detectron_trainer.checkpointing.checkpoint import AtomicCheckpointer, Checkpoints, newest_first, read
from detectron_trainer.checkpointing.resume import newest_readable
from detectron_trainer.failures import FencedError, OutputNotWritableError, PreemptedError
from tests.trainer import tiny
from tests.trainer.conftest import Launcher, Run, without_durations
from tests.trainer.test_checkpoint import names, step, training


class SlowDisk:
    """Holds a save in the background back, after its last byte and before the file has its name."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.opened = threading.Event()
        self.fences = False

    def admit(self) -> None:
        if threading.current_thread() is threading.main_thread():
            return
        self.arrived.set()
        assert self.opened.wait(30)
        if self.fences:
            raise FencedError("a later attempt has the folder")


class Saves:
    """A run of two-iteration checkpoints in `folder`, and the files that it was told of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disk = SlowDisk()
        self.shown: list[tuple[str, int]] = []
        self.training = training()
        checkpointer = AtomicCheckpointer(
            self.training.model,
            folder,
            admit=self.disk.admit,
            saved=lambda path, completed: self.shown.append((path.name, completed)),
            **self.training.checkpointables(),
        )
        self.checkpoints = Checkpoints(checkpointer, period=2, max_iter=9, keep=2, asynchronous=True)

    def save(self, iteration: int, **state: object) -> None:
        self.checkpoints.save(iteration, **state)

    def hold(self, iteration: int) -> None:
        """Save in the background, up to where the disk holds it back."""
        self.disk.arrived.clear()
        self.disk.opened.clear()
        self.save(iteration)
        assert self.disk.arrived.wait(30)

    def release(self) -> None:
        self.disk.opened.set()
        self.checkpoints.wait()


@pytest.fixture
def saves(tmp_path: Path) -> Iterator[Saves]:
    saves = Saves(tmp_path)
    saves.disk.opened.set()
    with saves.checkpoints.completed():
        yield saves
        saves.disk.opened.set()


def content(path: Path) -> dict[str, Any]:
    """Weights, momentum and the rest, flat enough to compare."""
    saved = read(path)
    return {**saved["model"], "momentum": saved["optimizer"]["state"], "iteration": saved["iteration"]}


def test_holds_the_state_of_its_iteration_though_training_goes_on(saves: Saves) -> None:
    step(saves.training)
    before = {name: value.clone() for name, value in saves.training.model.state_dict().items()}
    momentum = saves.training.optimizer.state_dict()["state"][0]["momentum_buffer"].clone()
    saves.hold(1)
    for _ in range(3):
        step(saves.training)
    saves.release()
    saved = content(saves.folder / "model_0000001.pth")
    assert all(torch.equal(saved[name], value) for name, value in before.items())
    assert torch.equal(saved["momentum"][0]["momentum_buffer"], momentum)
    assert not torch.equal(saves.training.model.state_dict()["weight"], before["weight"])


def test_until_it_is_written_the_one_before_is_the_newest(saves: Saves) -> None:
    saves.save(1)
    saves.checkpoints.wait()
    saves.hold(3)
    # What a process that is killed now leaves behind.
    found = newest_readable(saves.folder)
    assert found is not None
    assert found[0].name == "model_0000001.pth"
    saves.checkpoints.poll()
    assert saves.shown == [("model_0000001.pth", 2)]
    saves.release()
    assert saves.shown[-1] == ("model_0000003.pth", 4)
    assert names(saves.folder)[0] == "model_0000003.pth"


def test_the_next_save_waits_and_the_surplus_goes(saves: Saves) -> None:
    for iteration in (1, 3, 5, 7):
        saves.save(iteration)
    saves.save(8)
    assert [completed for _, completed in saves.shown] == [2, 4, 6, 8, 9]
    assert names(saves.folder) == ["model_final.pth", "model_0000007.pth", "model_0000005.pth"]


def test_a_full_disk_is_told_at_the_next_occasion_and_the_one_before_stays(saves: Saves) -> None:
    saves.save(1)
    saves.checkpoints.wait()
    (saves.folder / ".model_0000003.pth.unfinished").symlink_to("/dev/full")
    saves.save(3)
    with pytest.raises(OutputNotWritableError, match="No space left") as caught:
        saves.save(5)
    assert not caught.value.retryable
    assert names(saves.folder) == ["model_0000001.pth"]
    assert not list(saves.folder.glob(".*"))


def test_an_attempt_that_is_over_does_not_finish_its_file(saves: Saves) -> None:
    saves.hold(1)
    saves.disk.fences = True
    with pytest.raises(FencedError):
        saves.release()
    assert newest_first(saves.folder) == []
    assert not list(saves.folder.glob(".*"))


def test_an_error_waits_for_the_file_and_tells_if_it_is_lost(tmp_path: Path) -> None:
    def leave(iteration: int) -> None:
        saves = Saves(tmp_path)
        saves.disk.opened.set()
        with saves.checkpoints.completed():
            (tmp_path / ".model_0000003.pth.unfinished").symlink_to("/dev/full")
            saves.save(iteration)
            raise PreemptedError("told to")

    with pytest.raises(PreemptedError):
        leave(1)
    assert names(tmp_path) == ["model_0000001.pth"]
    with pytest.raises(PreemptedError) as caught:
        leave(3)
    assert "the checkpoint in the background is lost" in caught.value.__notes__[0]


def test_a_snapshot_keeps_its_memory_and_what_a_state_knows_of_its_modules() -> None:
    model, snapshot = torch.nn.BatchNorm2d(3), Snapshot()
    first = snapshot.take({"model": model.state_dict(), "lists": [(1, torch.ones(2))]})
    places = [value.data_ptr() for value in first["model"].values()]
    assert vars(first["model"]) == vars(model.state_dict())
    assert first["model"]["weight"].data_ptr() != model.weight.data_ptr()
    assert torch.equal(first["lists"][0][1], torch.ones(2))
    second = snapshot.take({"model": model.state_dict(), "lists": []})
    assert [value.data_ptr() for value in second["model"].values()] == places


def test_a_run_is_the_same_with_saves_in_the_background(
    launcher: Launcher, tiny_data: Path, alone: Run
) -> None:
    policy = {"keep": 2, "asynchronous": True}
    run = launcher.run(tiny.job(tiny_data, spec={"checkpoint": policy}))
    assert run.verdict["reason"] == "Completed", run.log
    assert without_durations(run.rows) == without_durations(alone.rows)
    assert names(run.output) == names(alone.output)
    ours, theirs = read(run.output / "model_0000007.pth"), read(alone.output / "model_0000007.pth")
    assert all(torch.equal(value, theirs["model"][name]) for name, value in ours["model"].items())
    assert ours["random_states"][0]["python"] == theirs["random_states"][0]["python"]


@pytest.mark.parametrize("kind", ["sigterm", "disk-full"])
def test_a_run_ends_as_with_other_saves(launcher: Launcher, tiny_data: Path, kind: str) -> None:
    """Told to stop in the iteration of a checkpoint, or when the disk fills up during the first one."""
    spec = {"checkpoint": {"keep": 2, "asynchronous": True}, "plugins": ["tests.trainer.faults"]}
    job = tiny.job(tiny_data, spec=spec, overrides=("MODEL.META_ARCHITECTURE FaultyRCNN",))
    # The signal of a step is seen in the next one.
    step = 2 if kind == "sigterm" else 3
    fault = {"kind": kind, "rank": 0, "step": step, "file": "model_0000003.pth"}
    run = launcher.run(job, processes=2, fault=fault)
    if kind == "sigterm":
        assert (run.verdict["reason"], run.message["iteration"]) == ("Preempted", 4), run.log
        assert run.message["lastCheckpoint"]["iteration"] == 4
        assert newest_readable(run.output) is not None
    else:
        assert (run.verdict["reason"], run.verdict["retryable"]) == ("OutputNotWritable", False), run.log
