"""Runs that cannot go on: every pod ends, soon, and says why."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from detectron_trainer.checkpointing.resume import newest_readable
from tests.trainer import tiny
from tests.trainer.conftest import Launcher
from tests.trainer.test_resume import faulty_job


def test_a_loss_that_is_not_finite_ends_all_ranks_at_once(launcher: Launcher, tiny_data: Path) -> None:
    job = faulty_job(tiny_data)
    first, second = launcher.run_two_pods(job, fault={"kind": "nan", "rank": 1, "step": 5})
    for run in (first, second):
        assert run.process.returncode == 1
        assert run.verdict["reason"] == "NonFiniteLoss", run.log
        assert run.verdict["rank"] == 1
        assert run.verdict["iteration"] == 5
        assert not run.verdict["retryable"]
        assert "rank 1: loss_cls is nan" in run.verdict["message"]
    # The weights of the last good checkpoint stay the newest.
    assert (first.output / "last_checkpoint").read_text() == "model_0000003.pth"


def test_rollbacks_go_on_at_a_lower_rate_until_they_are_used_up(launcher: Launcher, tiny_data: Path) -> None:
    job = faulty_job(tiny_data)
    job["spec"]["training"] = {"nonFiniteLoss": {"rollbacks": 2, "learningRateFactor": 0.1}}
    # The model counts its steps from the rollback on: iterations 5 and then 4 + 5 have the accident.
    fault = {"kind": "nan", "rank": 1, "step": 5}
    run = launcher.run(job, processes=2, fault=fault)
    assert run.verdict["reason"] == "Completed", run.log
    assert "rollback 2" in run.log
    assert [row["iteration"] for row in run.rows] == list(range(12))
    rates = [row["lr"] for row in run.rows[4:]]
    assert rates == pytest.approx([0.001] * 4 + [0.0001] + [0.00001] * 3)

    job["spec"]["training"]["nonFiniteLoss"]["rollbacks"] = 1
    failed = launcher.run(job, processes=2, fault=fault)
    assert failed.verdict["reason"] == "NonFiniteLoss", failed.log
    assert failed.verdict["iteration"] == 9


def test_both_pods_name_the_rank_that_failed_and_its_cause(launcher: Launcher, tiny_data: Path) -> None:
    job = faulty_job(tiny_data)
    first, second = launcher.run_two_pods(job, fault={"kind": "raise", "rank": 1, "step": 2})
    for run in (first, second):
        assert run.verdict == {
            "reason": "ProcessFailed",
            "message": "RuntimeError: the accident",
            "rank": 1,
            "retryable": True,
        }, run.log
    assert "Traceback" in second.log
    assert "the accident" in second.log


def test_out_of_memory_is_a_reason_of_its_own(launcher: Launcher, tiny_data: Path) -> None:
    job = faulty_job(tiny_data)
    run = launcher.run(job, processes=2, fault={"kind": "out-of-memory", "rank": 1, "step": 2})
    assert run.verdict["reason"] == "OutOfMemory", run.log
    assert run.verdict["rank"] == 1


def test_an_invalid_config_names_every_problem_and_is_final(launcher: Launcher, tiny_data: Path) -> None:
    job: dict[str, Any] = tiny.job(
        tiny_data,
        spec={"plugins": ["no_such_plugin"], "trainer": "tests.trainer.tiny:mian"},
        overrides=("SOLVER.BASE_LRR 0.1", "SOLVER.IMS_PER_BATCH 3"),
    )
    job["spec"]["datasets"][0]["annotations"] = "/nowhere.json"
    run = launcher.run(job, processes=2, environment={"DETECTRON_METRICS_TLS": "/nowhere"})
    assert run.process.returncode == 1
    assert run.verdict["reason"] == "InvalidConfig", run.log
    assert not run.verdict["retryable"]
    assert run.verdict["message"].splitlines() == [
        "spec.config: SOLVER.IMS_PER_BATCH 3 is the batch of all processes together and must be divisible by "
        "their number, 2",
        "spec.config.overrides[0]: unknown key SOLVER.BASE_LRR, did you mean SOLVER.BASE_LR?",
        "spec.datasets[0].annotations: /nowhere.json does not exist",
        "spec.metrics.tls.secretName: no certificate with its key in /nowhere: [Errno 2] No such file or "
        "directory: '/nowhere/tls.crt'",
        "spec.plugins[0]: no_such_plugin cannot be imported: "
        "ModuleNotFoundError: No module named 'no_such_plugin'",
        "spec.trainer: tests.trainer.tiny:mian cannot be imported: ImportError: tests.trainer.tiny "
        "has no mian: module 'tests.trainer.tiny' has no attribute 'mian'",
    ]


def test_a_full_disk_is_the_verdict_and_costs_no_checkpoint(launcher: Launcher, tiny_data: Path) -> None:
    fault = {"kind": "disk-full", "rank": 0, "step": 5, "file": "model_0000007.pth"}
    run = launcher.run(faulty_job(tiny_data), processes=2, fault=fault)
    assert run.process.returncode == 1
    assert run.verdict["reason"] == "OutputNotWritable", run.log
    assert "No space left on device" in run.verdict["message"]
    assert not run.verdict["retryable"]
    assert (run.output / "last_checkpoint").read_text() == "model_0000003.pth"
    found = newest_readable(run.output)
    assert found is not None
    assert found[0].name == "model_0000003.pth"


def test_rank_0_saves_what_it_holds_when_a_peer_dies(launcher: Launcher, tiny_data: Path) -> None:
    job = faulty_job(tiny_data)
    first, _ = launcher.run_two_pods(job, fault={"kind": "sigkill", "rank": 1, "step": 6})
    assert first.verdict["reason"] == "ProcessFailed", first.log
    # Six iterations are completed, the schedule's own checkpoint holds four.
    assert first.message["lastCheckpoint"]["iteration"] == 6
    assert (first.output / "last_checkpoint").read_text() == "model_0000005.pth"
    resumed = launcher.run(job, processes=2, output=first.output, attempt=1)
    assert "model_0000005.pth" in resumed.log
    assert [row["iteration"] for row in resumed.rows] == list(range(12))


def test_a_dead_data_worker_is_named(launcher: Launcher, tiny_data: Path) -> None:
    job = faulty_job(tiny_data)
    job["spec"]["config"]["overrides"] += ["DATALOADER.NUM_WORKERS 1", "SOLVER.MAX_ITER 100000"]
    run = launcher.run(job, fault={"kind": "kill-data-worker", "rank": 0, "step": 2})
    assert run.verdict["reason"] == "ProcessFailed", run.log
    assert run.verdict["retryable"]
    assert "DataLoader worker" in run.verdict["message"]


@pytest.fixture(scope="module")
def damaged_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data sets, of whose 24 training images one is cut short and one is missing."""
    folder = tmp_path_factory.mktemp("damaged")
    tiny.write_dataset(folder / "train", 24, seed=1)
    tiny.write_dataset(folder / "test", 10, seed=2)
    os.truncate(folder / "train" / "images" / "7.png", 80)
    (folder / "train" / "images" / "9.png").unlink()
    return folder


def with_faulty_mapper(data: Path) -> dict[str, Any]:
    """The tiny job, whose images a data worker reads."""
    spec = {"plugins": ["tests.trainer.faults"], "mapper": "tests.trainer.faults:FaultyMapper"}
    return tiny.job(data, spec=spec, overrides=("DATALOADER.NUM_WORKERS 1", "SOLVER.MAX_ITER 100000"))


def test_what_a_data_worker_raises_is_the_verdict(launcher: Launcher, tiny_data: Path) -> None:
    run = launcher.run(with_faulty_mapper(tiny_data), fault={"kind": "loading-raise"})
    assert run.verdict["reason"] == "ProcessFailed", run.log
    assert "RuntimeError: the mapper's accident" in run.verdict["message"]
    assert run.verdict["rank"] == 0


def test_a_stop_while_the_first_images_are_read_saves_the_first_iteration(
    launcher: Launcher, tiny_data: Path
) -> None:
    run = launcher.run(with_faulty_mapper(tiny_data), fault={"kind": "loading-sigterm"})
    assert run.verdict["reason"] == "Preempted", run.log
    assert run.verdict["iteration"] == run.message["lastCheckpoint"]["iteration"] == 1
    assert [row["iteration"] for row in run.rows] == [0]


def test_images_that_cannot_be_read_are_left_out_and_counted(launcher: Launcher, damaged_data: Path) -> None:
    job = tiny.job(damaged_data, spec={"training": {"maxUnreadableImages": 4}})
    # Twelve iterations of four images are two epochs, in each of which the two are met once.
    run = launcher.run(job, processes=2)
    assert run.verdict["reason"] == "Completed", run.log
    counts = [row.get("unreadable_images", 0) for row in run.rows]
    assert counts == sorted(counts)
    assert counts[-1] == 4


def test_one_image_too_many_ends_the_job_by_name(launcher: Launcher, damaged_data: Path) -> None:
    job = tiny.job(damaged_data, overrides=("DATALOADER.NUM_WORKERS 1",))
    first, second = launcher.run_two_pods(job)
    for run in (first, second):
        assert run.verdict["reason"] == "UnreadableImages", run.log
        assert not run.verdict["retryable"]
        assert "images/7.png" in run.verdict["message"] or "images/9.png" in run.verdict["message"]
    assert first.message["lastCheckpoint"]["iteration"] == first.verdict["iteration"]


def test_an_attempt_that_is_over_writes_nothing_more(launcher: Launcher, tiny_data: Path) -> None:
    run = launcher.start(tiny.job(tiny_data, overrides=("SOLVER.MAX_ITER 100000",)))
    run.wait_for_row(1)
    (run.output / "attempt").write_text("3\n")
    assert run.wait() == 1
    assert run.verdict["reason"] == "ProcessFailed", run.log
    assert "fenced by attempt 3" in run.verdict["message"]
