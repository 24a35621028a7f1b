"""A job from its manifest to its last document: metrics, checkpoints, evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

from tests.trainer import tiny
from tests.trainer.conftest import ROOT, Launcher, Run, without_durations

LOSSES = {"loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc"}


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two processes"])
def finished(request: pytest.FixtureRequest, alone: Run, together: Run) -> Run:
    return alone if request.param == 1 else together


def test_completes(finished: Run) -> None:
    assert finished.process.returncode == 0, finished.log
    assert finished.verdict == {
        "reason": "Completed",
        "message": "trained 12 iterations",
        "retryable": False,
    }


def test_last_document_fits_its_schema_and_tells_the_end(finished: Run) -> None:
    schema = json.loads((ROOT / "crds" / "progress.schema.json").read_text())
    jsonschema.validate(finished.message, schema)
    assert finished.message["phase"] == "Finished"
    assert finished.message["iteration"] == finished.message["maxIterations"] == 12
    assert finished.message["progressPercentage"] == 100
    assert {metric["name"] for metric in finished.message["metrics"]} >= {*LOSSES, "total_loss", "lr"}
    evaluation = finished.message["evaluation"]
    values = {metric["name"]: metric["value"] for metric in evaluation["metrics"]}
    assert evaluation["iteration"] == 12
    assert evaluation["averagePrecision"] == values["tiny_test/segm/AP"]
    assert {"tiny_test/bbox/AP50", "tiny_test/segm/AP50"} <= values.keys()


def test_last_document_tells_what_the_process_did(finished: Run) -> None:
    work = finished.message["work"]
    assert work["trainedIterations"] == 12
    assert 0 < work["iterationSecondsP99"] < work["trainingSeconds"] <= 12 * work["iterationSecondsP99"]
    assert min(work[f"{phase}Seconds"] for phase in ("starting", "evaluating", "checkpointing")) > 0


def test_metrics_file_holds_each_iteration_once(finished: Run) -> None:
    assert [row["iteration"] for row in finished.rows] == list(range(12))
    for row in finished.rows:
        assert {*LOSSES, "total_loss", "lr", "time", "data_time"} <= row.keys()


def test_evaluates_at_its_period_and_at_the_end(finished: Run) -> None:
    evaluated = [row["iteration"] for row in finished.rows if "segm/AP" in row]
    assert evaluated == [5, 11]


def test_learning_rate_is_the_schedule_s(finished: Run) -> None:
    # Warm-up from a thousandth over 4 iterations, a tenth from iteration 9 on.
    warmup = [0.01 * (0.001 + 0.999 * i / 4) for i in range(4)]
    expected = [*warmup, *[0.01] * 5, *[0.001] * 3]
    assert {row["iteration"]: row["lr"] for row in finished.rows} == pytest.approx(dict(enumerate(expected)))


def assert_tensorboard_holds_the_rows(run: Run) -> None:
    events = EventAccumulator(str(run.output)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("total_loss")] == [
        (row["iteration"], pytest.approx(row["total_loss"])) for row in run.rows
    ]


def test_tensorboard_holds_the_metrics_file_s_values(finished: Run) -> None:
    assert_tensorboard_holds_the_rows(finished)


def test_keeps_the_newest_checkpoints_and_the_final_one(finished: Run) -> None:
    assert sorted(path.name for path in finished.output.glob("model_*.pth")) == [
        "model_0000007.pth",
        "model_0000011.pth",
        "model_final.pth",
    ]
    assert (finished.output / "last_checkpoint").read_text() == "model_final.pth"
    assert finished.message["lastCheckpoint"]["iteration"] == 12
    assert Path(finished.message["lastCheckpoint"]["path"]) == finished.output / "model_final.pth"


def test_losses_are_means_over_the_processes(alone: Run, together: Run) -> None:
    # The first losses come from equal weights and the same four images, in one batch or in two.
    for name in ("loss_mask", "loss_rpn_cls", "loss_cls"):
        assert together.rows[0][name] == pytest.approx(alone.rows[0][name], rel=0.15)
    assert together.rows[0]["total_loss"] == pytest.approx(
        sum(value for name, value in together.rows[0].items() if name in LOSSES)
    )


def test_steps_in_parts_clipped_and_of_lower_precision(
    launcher: Launcher, tiny_data: Path, together: Run
) -> None:
    options = {
        "gradientAccumulation": 2,
        "maxGradientNorm": 0.5,
        "precision": "bfloat16",
        "channelsLast": True,
        "ema": {"decay": 0.5},
    }
    job = tiny.job(
        tiny_data, spec={"training": options}, overrides=("SOLVER.MAX_ITER 3", "TEST.EVAL_PERIOD 0")
    )
    run = launcher.run(job, processes=2)
    assert run.verdict["reason"] == "Completed", run.log
    assert all(row["gradient_norm"] > 0 for row in run.rows)
    assert run.rows[0]["total_loss"] == pytest.approx(together.rows[0]["total_loss"], rel=0.1)
    saved = torch.load(run.output / "model_final.pth")["model"]
    average = torch.load(run.output / "model_ema.pth")["model"]
    assert average.keys() == saved.keys()
    assert not torch.equal(average["backbone.stem.conv1.weight"], saved["backbone.stem.conv1.weight"])
    assert {tensor.dtype for tensor in saved.values()} <= {torch.float32, torch.int64}


def test_ends_early_when_nothing_gets_better_and_stays_ended(launcher: Launcher, tiny_data: Path) -> None:
    options = {"checkpoint": {"best": {}}, "training": {"earlyStopping": {"patience": 2}}}
    # Nothing is learned at this rate, so the first evaluation stays the best.
    overrides = ("SOLVER.BASE_LR 0.0", "MODEL.RESNETS.NORM FrozenBN", "TEST.EVAL_PERIOD 1")
    job = tiny.job(tiny_data, spec=options, overrides=overrides)
    run = launcher.run(job, processes=2)
    assert (run.verdict["reason"], run.verdict["message"]) == ("Completed", "trained 3 iterations"), run.log
    assert run.message["bestCheckpoint"]["iteration"] == 1
    assert run.message["lastCheckpoint"]["iteration"] == 3
    again = launcher.run(job, processes=2, output=run.output, attempt=1)
    assert again.verdict["reason"] == "Completed", again.log
    assert [row["iteration"] for row in again.rows] == [0, 1, 2]


def test_only_rank_0_speaks(together: Run) -> None:
    assert together.log.count("Start inference on") == 2
    assert "[rank 1]" not in together.log


def test_finished_job_evaluates_again_without_training(
    launcher: Launcher, tiny_data: Path, alone: Run
) -> None:
    before = torch.load(alone.output / "model_final.pth")
    copy = launcher.copy(alone.output)
    again = launcher.run(tiny.job(tiny_data), output=copy)
    assert again.verdict["reason"] == "Completed", again.log
    assert [row["iteration"] for row in again.rows] == list(range(12))
    assert without_durations(again.rows) == without_durations(alone.rows)
    assert again.message["evaluation"] == alone.message["evaluation"]
    assert again.message["lastCheckpoint"]["iteration"] == 12
    assert before["iteration"] == torch.load(copy / "model_final.pth")["iteration"]
