"""Checkpoint files: whole or not there, kept to a number, restored without undoing an edit of the config."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip
from detectron2.config import CfgNode, get_cfg
from detectron2.solver import build_lr_scheduler, build_optimizer
from torch import nn
from torch.amp.grad_scaler import GradScaler

from detectron_trainer.atomic_file import replaced_atomically
from detectron_trainer.checkpointing.attempts import Fence
from detectron_trainer.checkpointing.checkpoint import (
    AtomicCheckpointer,
    Checkpoints,
    newest_first,
)
from detectron_trainer.checkpointing.resume import newest_readable, restore
from detectron_trainer.failures import CheckpointCorruptError, FencedError, OutputNotWritableError
from detectron_trainer.model.assembly import Training, moving_average


def config(**solver: object) -> CfgNode:
    cfg = get_cfg()
    for key, value in {"BASE_LR": 0.1, "MAX_ITER": 10, "STEPS": (8,), "WARMUP_ITERS": 0, **solver}.items():
        cfg.SOLVER[key] = value
    return cfg


def training(cfg: CfgNode | None = None, width: int = 3) -> Training:
    cfg = cfg or config()
    model = nn.Linear(width, 2)
    optimizer = build_optimizer(cfg, model)
    return Training(model, optimizer, build_lr_scheduler(cfg, optimizer), GradScaler("cpu", enabled=False))


def step(training: Training) -> None:
    training.model(torch.ones(1, 3)).sum().backward()
    training.optimizer.step()
    training.scheduler.step()


def checkpointer(folder: Path, training: Training, attempt: int = 0) -> AtomicCheckpointer:
    fence = Fence(folder, attempt)
    fence.open()
    return AtomicCheckpointer(
        training.model,
        folder,
        admit=fence.check,
        saved=lambda path, completed: None,
        **training.checkpointables(),
    )


def names(folder: Path) -> list[str]:
    return [path.name for path in newest_first(folder)]


def test_saves_by_period_and_at_the_end_and_keeps_the_newest(tmp_path: Path) -> None:
    checkpoints = Checkpoints(checkpointer(tmp_path, training()), period=2, max_iter=9, keep=2)
    for iteration in range(9):
        if checkpoints.is_due(iteration + 1):
            checkpoints.save(iteration)
    assert names(tmp_path) == ["model_final.pth", "model_0000007.pth", "model_0000005.pth"]


def test_keeps_count_of_what_an_earlier_life_has_left(tmp_path: Path) -> None:
    saves = checkpointer(tmp_path, training())
    for iteration in (1, 3, 5):
        Checkpoints(saves, period=2, max_iter=9, keep=3).save(iteration)
    Checkpoints(saves, period=2, max_iter=9, keep=2).save(6)
    assert names(tmp_path) == ["model_0000006.pth", "model_0000005.pth"]


def test_what_was_trained_after_a_damaged_file_outlives_it(tmp_path: Path) -> None:
    saves = checkpointer(tmp_path, training())
    checkpoints = Checkpoints(saves, period=2, max_iter=9, keep=1)
    (tmp_path / "model_0000007.pth").write_bytes(b"damaged")
    os.utime(tmp_path / "model_0000007.pth", (0, 0))
    checkpoints.save(5)
    assert names(tmp_path) == ["model_0000005.pth"]


def test_a_full_disk_is_no_use_to_try_again(tmp_path: Path) -> None:
    saves = checkpointer(tmp_path, training())
    saves.save("model_0000001", iteration=1)
    (tmp_path / ".model_0000003.pth.unfinished").symlink_to("/dev/full")
    with pytest.raises(OutputNotWritableError, match="No space left") as caught:
        saves.save("model_0000003", iteration=3)
    assert not caught.value.retryable
    assert names(tmp_path) == ["model_0000001.pth"]
    assert not list(tmp_path.glob(".*"))


@contextmanager
def no_space() -> Iterator[None]:
    """Files may not grow beyond a few bytes; not for longer than a save, since stdout may be such a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_save_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    saves = checkpointer(tmp_path, training())
    saves.save("model_0000001", iteration=1)
    with no_space(), pytest.raises(OutputNotWritableError, match=f"{tmp_path} cannot be written"):
        saves.save("model_0000003", iteration=3)
    assert names(tmp_path) == ["model_0000001.pth"]
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000001.pth"
    assert not list(tmp_path.glob(".*"))


def test_what_a_killed_save_has_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".model_0000001.pth.unfinished").write_bytes(b"half")
    Checkpoints(checkpointer(tmp_path, training()), period=2, max_iter=9, keep=1)
    assert not list(tmp_path.glob(".*"))


def test_an_error_while_writing_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(TypeError), replaced_atomically(path, "w") as file:
        file.writelines(["after", None])
    assert path.read_text() == "before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_the_newest_that_can_be_read_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saves = checkpointer(tmp_path, training())
    assert newest_readable(tmp_path) is None
    for iteration in (1, 3, 5):
        saves.save(f"model_{iteration:07d}", iteration=iteration)
    os.truncate(tmp_path / "model_0000005.pth", 100)
    flip_a_byte(tmp_path / "model_0000003.pth")
    found = newest_readable(tmp_path)
    assert found is not None
    assert found[0].name == "model_0000001.pth"
    assert found[1]["iteration"] == 1
    assert len(caplog.messages) == 2


def test_a_file_cut_at_any_byte_gives_way_to_the_one_before(tmp_path: Path) -> None:
    saves = checkpointer(tmp_path, training())
    saves.save("model_0000001", iteration=1)
    saves.save("model_0000003", iteration=3)
    newest = tmp_path / "model_0000003.pth"
    content = newest.read_bytes()
    cuts = [*range(0, len(content), 41), len(content) - 1]
    assert len(cuts) > 50
    for cut in cuts:
        newest.write_bytes(content[:cut])
        found = newest_readable(tmp_path)
        assert found is not None
        assert found[1]["iteration"] == 1, f"cut after {cut} of {len(content)} bytes"


def flip_a_byte(path: Path) -> None:
    """Damage the weights themselves, where only a checksum tells."""
    weights = torch.load(path)["model"]["weight"].numpy().tobytes()
    content = bytearray(path.read_bytes())
    content[content.index(weights)] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("tag", ["", "no_such_file.pth", "\0"])
def test_a_bad_tag_does_no_harm(tmp_path: Path, tag: str) -> None:
    saves = checkpointer(tmp_path, training())
    saves.save("model_0000001", iteration=1)
    saves.save("model_0000003", iteration=3)
    (tmp_path / "last_checkpoint").write_text(tag)
    found = newest_readable(tmp_path)
    assert found is not None
    assert found[0].name == "model_0000003.pth"


def test_checkpoints_of_which_none_can_be_read_are_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "model_final.pth").write_bytes(b"")
    torch.save({"model": {}}, tmp_path / "model_0000001.pth")
    with pytest.raises(CheckpointCorruptError, match="holds no training state"):
        newest_readable(tmp_path)


def test_an_edited_config_takes_effect(tmp_path: Path) -> None:
    """Learning rates and weight decay are in the checkpoint too, and must not come back from there."""
    before = training()
    for _ in range(4):
        step(before)
    checkpointer(tmp_path, before).save("model_0000003", iteration=3)
    found = newest_readable(tmp_path)
    assert found is not None

    after = training(config(BASE_LR=0.05, WEIGHT_DECAY=0.5, STEPS=(5,)))
    restore(after, checkpointer(tmp_path, after), found[1], 4)
    group = after.optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (pytest.approx(0.05), 0.5)
    # The momentum did come back, so that the schedule alone makes the next step differ.
    momentum = [state["momentum_buffer"] for state in before.optimizer.state.values()]
    restored = [state["momentum_buffer"] for state in after.optimizer.state.values()]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(momentum, restored, strict=True))
    step(after)
    assert group["lr"] == pytest.approx(0.005)


def test_the_loss_scale_goes_on_where_it_was(tmp_path: Path) -> None:
    def scaling() -> Training:
        return replace(training(), scaler=GradScaler("cpu", init_scale=8.0))

    before, after = scaling(), scaling()
    before.scaler.scale(torch.ones(()))
    before.scaler.update(2.0)
    checkpointer(tmp_path, before).save("model_0000003", iteration=3)
    found = newest_readable(tmp_path)
    assert found is not None
    restore(after, checkpointer(tmp_path, after), found[1], 4)
    assert after.scaler.get_scale() == 2.0


def test_the_average_goes_on_where_it_was(tmp_path: Path) -> None:
    def averaging() -> Training:
        torch.manual_seed(1)
        plain = training()
        return replace(plain, averaged=moving_average(plain.model, 0.75))

    def steps(averaging: Training, count: int) -> None:
        for _ in range(count):
            averaging.optimizer.zero_grad()
            step(averaging)
            assert averaging.averaged is not None
            averaging.averaged.update_parameters(averaging.model)

    whole, first, second = averaging(), averaging(), averaging()
    assert whole.evaluated is whole.model
    steps(whole, 6)
    steps(first, 4)
    checkpointer(tmp_path, first).save("model_0000003", iteration=3)
    found = newest_readable(tmp_path)
    assert found is not None
    restore(second, checkpointer(tmp_path, second), found[1], 4)
    steps(second, 2)
    for name, value in whole.evaluated.state_dict().items():
        assert torch.equal(second.evaluated.state_dict()[name], value)
    assert not torch.equal(whole.evaluated.state_dict()["bias"], whole.model.state_dict()["bias"])


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    checkpointer(tmp_path, training()).save("model_0000003", iteration=3)
    found = newest_readable(tmp_path)
    assert found is not None
    other = training(width=4)
    with pytest.raises(CheckpointCorruptError, match="1 have other shapes"):
        restore(other, checkpointer(tmp_path, other), found[1], 4)


def test_a_later_attempt_takes_the_folder(tmp_path: Path) -> None:
    first = checkpointer(tmp_path, training(), attempt=0)
    checkpointer(tmp_path, training(), attempt=1).save("model_0000001", iteration=1)
    with pytest.raises(FencedError, match=r"is fenced by attempt 1: this is attempt 0$"):
        first.save("model_0000003", iteration=3)
    with pytest.raises(FencedError):
        Fence(tmp_path, 0).open()
    assert names(tmp_path) == ["model_0000001.pth"]


def test_a_job_made_anew_takes_the_folder_of_the_one_before(tmp_path: Path) -> None:
    """It counts its attempts from 0 again; a pod of the old job that still runs must not write any more."""
    old, new = Fence(tmp_path, 3, "uid-of-old"), Fence(tmp_path, 0, "uid-of-new")
    old.open()
    new.open()
    new.check()
    with pytest.raises(FencedError, match="attempt 0 of job uid-of-new: this is attempt 3 of job uid-of-old"):
        old.check()


@pytest.mark.parametrize("content", ["", "nonsense", "\0"])
def test_an_attempt_file_without_sense_fences_nobody(tmp_path: Path, content: str) -> None:
    (tmp_path / "attempt").write_text(content)
    fence = Fence(tmp_path, 0)
    fence.check()
    fence.open()
    fence.check()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputNotWritableError, match="file/output cannot be written") as caught:
        Fence(tmp_path / "file" / "output", 0).open()
    assert not caught.value.retryable
