"""Going on after a break: the same iterations, the same metrics, the same weights as without one."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer import tiny
from tests.trainer.conftest import Launcher, Run, without_durations
from tests.trainer.test_training import assert_tensorboard_holds_the_rows

FAULTY = "MODEL.META_ARCHITECTURE FaultyRCNN"
PLUGIN = {"plugins": ["tests.trainer.faults"]}


def faulty_job(data: Path) -> dict[str, Any]:
    """The tiny job with a model that has an accident where its environment says so."""
    return tiny.job(data, spec=PLUGIN, overrides=(FAULTY,))


def weights(output: Path) -> dict[str, torch.Tensor]:
    model: dict[str, torch.Tensor] = torch.load(output / "model_final.pth")["model"]
    return model


def assert_equal_training(resumed: Run, whole: Run) -> None:
    """The resumed run left what the run without a break left: metrics and weights, to the last bit."""
    assert resumed.verdict["reason"] == "Completed", resumed.log
    assert without_durations(resumed.rows) == without_durations(whole.rows)
    ours, theirs = weights(resumed.output), weights(whole.output)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_after_a_kill_two_pods_go_on_from_the_checkpoint(
    launcher: Launcher, tiny_data: Path, together: Run
) -> None:
    job = faulty_job(tiny_data)
    killed = launcher.run(job, processes=2, fault={"kind": "sigkill", "rank": 0, "step": 6})
    assert killed.process.returncode == 1
    assert (killed.output / "last_checkpoint").read_text() == "model_0000003.pth"
    assert [row["iteration"] for row in killed.rows] == list(range(6))

    # Rank 1 now lives in a pod of its own whose output is empty: it must get all from rank 0.
    first, second = launcher.run_two_pods(job, output=killed.output, attempt=1)
    assert "model_0000003.pth" in first.log
    assert_equal_training(first, together)
    assert second.verdict["reason"] == "Completed", second.log
    assert not list(second.output.glob("*"))


def test_a_stop_on_one_rank_saves_and_loses_nothing(
    launcher: Launcher, tiny_data: Path, together: Run
) -> None:
    job = faulty_job(tiny_data)
    stopped = launcher.run(job, processes=2, fault={"kind": "sigterm", "rank": 1, "step": 6})
    assert stopped.process.returncode == 1
    assert stopped.verdict == {
        "reason": "Preempted",
        "message": stopped.verdict["message"],
        "iteration": stopped.message["lastCheckpoint"]["iteration"],
        "retryable": True,
    }
    # The wish is all-reduced with the losses of the step that it came in or of the next.
    completed = stopped.verdict["iteration"]
    assert completed in (7, 8)
    assert [row["iteration"] for row in stopped.rows] == list(range(completed))

    resumed = launcher.run(job, processes=2, output=stopped.output, attempt=1)
    assert f"model_{completed - 1:07d}.pth" in resumed.log
    assert_equal_training(resumed, together)


def test_a_stop_during_evaluation_is_made_up_for(launcher: Launcher, tiny_data: Path, alone: Run) -> None:
    job = faulty_job(tiny_data)
    stopped = launcher.run(job, fault={"kind": "evaluation-sigterm", "rank": 0, "step": 2})
    assert stopped.verdict["reason"] == "Preempted", stopped.log
    assert stopped.verdict["iteration"] == 6
    assert "segm/AP" not in stopped.rows[-1]

    resumed = launcher.run(job, output=stopped.output, attempt=1)
    assert_equal_training(resumed, alone)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    launcher: Launcher, tiny_data: Path, alone: Run
) -> None:
    output = launcher.copy(alone.output)
    for name in ("model_final.pth", "model_0000011.pth"):
        os.truncate(output / name, (output / name).stat().st_size // 2)
    resumed = launcher.run(tiny.job(tiny_data), output=output, attempt=1)
    assert "model_final.pth cannot be read" in resumed.log
    assert "resuming from" in resumed.log
    assert "model_0000007.pth" in resumed.log
    assert_equal_training(resumed, alone)
    # Its last four iterations are in the files of the life before, too.
    assert_tensorboard_holds_the_rows(resumed)


def test_the_best_checkpoint_stays_the_best_in_another_life(launcher: Launcher, tiny_data: Path) -> None:
    job = faulty_job(tiny_data)
    job["spec"]["checkpoint"] = {"keep": 1, "best": {"metric": "tiny_test/bbox/AP"}}
    killed = launcher.run(job, processes=2, fault={"kind": "sigkill", "rank": 0, "step": 9})
    assert "bbox/AP" in killed.rows[5]
    first = json.loads((killed.output / "best.json").read_text())
    assert first["iteration"] == 6

    resumed = launcher.run(job, processes=2, output=killed.output, attempt=1)
    assert resumed.verdict["reason"] == "Completed", resumed.log
    precisions = {int(row["iteration"]) + 1: row["bbox/AP"] for row in resumed.rows if "bbox/AP" in row}
    winner = max(precisions, key=lambda completed: (precisions[completed], -completed))
    best = resumed.message["bestCheckpoint"]
    assert (best["metric"], best["iteration"]) == ("tiny_test/bbox/AP", winner)
    assert best["value"] == pytest.approx(precisions[winner] / 100)
    assert torch.load(best["path"])["iteration"] == winner - 1
    assert Path(best["path"]) == resumed.output / "model_best.pth"


def test_torchrun_s_own_stop_is_a_stop_of_the_run(launcher: Launcher, tiny_data: Path) -> None:
    run = launcher.start(tiny.job(tiny_data, overrides=("SOLVER.MAX_ITER 100000", "TEST.EVAL_PERIOD 0")))
    run.wait_for_row(2)
    os.kill(run.process.pid, signal.SIGTERM)
    assert run.wait() != 0
    assert run.verdict["reason"] == "Preempted", run.log
    assert run.message["lastCheckpoint"]["iteration"] == run.verdict["iteration"] == run.message["iteration"]
    assert [row["iteration"] for row in run.rows] == list(range(run.verdict["iteration"]))


def test_a_longer_schedule_goes_on_where_the_shorter_one_ended(
    launcher: Launcher, tiny_data: Path, alone: Run
) -> None:
    """And at the learning rate that the config says now."""
    output = launcher.copy(alone.output)
    overrides = (
        "SOLVER.MAX_ITER 14",
        "SOLVER.BASE_LR 0.004",
        "SOLVER.STEPS (13,)",
        "SOLVER.IMS_PER_BATCH 2",
    )
    longer = launcher.run(tiny.job(tiny_data, overrides=overrides), output=output, attempt=1, processes=2)
    assert [row["iteration"] for row in longer.rows] == list(range(14))
    assert [row["lr"] for row in longer.rows[12:]] == pytest.approx([0.004, 0.0004])
    assert "edited, in effect from iteration 12 on: " in longer.log
    for edit in ("BASE_LR 0.01 -> 0.004", "IMS_PER_BATCH 4 -> 2", "MAX_ITER 12 -> 14", "processes 1 -> 2"):
        assert edit in longer.log
    assert torch.load(output / "model_final.pth")["images"] == 12 * 4 + 2 * 2


def test_the_linear_rule_goes_on_at_the_same_image(launcher: Launcher, tiny_data: Path, alone: Run) -> None:
    """Twice the processes: twice the batch and the rate, half the iterations; 32 images make four."""
    output = launcher.copy(alone.output)
    for name in ("model_final.pth", "model_0000011.pth"):
        (output / name).unlink()
    job = tiny.job(tiny_data, overrides=("SOLVER.REFERENCE_WORLD_SIZE 1", "SOLVER.STEPS (10,)"))
    scaled = launcher.run(job, output=output, attempt=1, processes=2)
    assert scaled.verdict["reason"] == "Completed", scaled.log
    assert [row["iteration"] for row in scaled.rows] == list(range(6))
    assert [row["lr"] for row in scaled.rows[4:]] == pytest.approx([0.02, 0.002])
    assert torch.load(output / "model_final.pth")["images"] == 12 * 4
