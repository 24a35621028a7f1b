"""Pods that go on when a process or a peer is lost: the first steps of the ladder, without an operator."""

from __future__ import annotations

import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from detectron_operator.manifests.torchrun import environment
from tests.trainer import tiny
from tests.trainer.conftest import Launcher, Run, free_port
from tests.trainer.test_resume import faulty_job
from tests.unit import operator_objects

ITERATIONS = 40
LONG = (f"SOLVER.MAX_ITER {ITERATIONS}", "TEST.EVAL_PERIOD 0", "SOLVER.CHECKPOINT_PERIOD 100")


@dataclass
class Gang:
    """Pods of one attempt on this machine, wired as the operator wires them but for names and ports."""

    launcher: Launcher
    manifest: Mapping[str, Any]
    elastic: Mapping[str, int] = field(default_factory=dict)
    port: str = field(default_factory=free_port)

    def start(self, index: int, **options: Any) -> Run:
        """Start the pod of a node index; only the first has an output that counts."""
        job = operator_objects.job(elasticPolicy={"maxRestarts": 3, **self.elastic})
        wiring = {name: value for name, value in environment(job, 0, index).items() if name[:4] != "DETE"}
        wiring |= {
            "PET_RDZV_ENDPOINT": f"127.0.0.1:{self.port}",
            "PET_LOCAL_ADDR": f"127.0.0.{index + 1}",
            "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "20",
        }
        return self.launcher.start(self.manifest, agent=wiring, **options)


def worker(run: Run) -> psutil.Process:
    """The one training process of a pod."""
    (found,) = psutil.Process(run.process.pid).children()
    return found


def check_complete(first: Run) -> None:
    assert first.verdict["reason"] == "Completed", first.log
    assert first.message["iteration"] == ITERATIONS
    assert [row["iteration"] for row in first.rows] == list(range(ITERATIONS))


def test_a_worker_that_dies_is_started_anew_in_its_pod_and_repeats_nothing(
    launcher: Launcher, tiny_data: Path
) -> None:
    gang = Gang(launcher, tiny.job(tiny_data, overrides=LONG))
    first, second = gang.start(0), gang.start(1)
    first.wait_for_row(5)
    worker(second).kill()
    assert (first.wait(), second.wait()) == (0, 0), first.log + second.log
    check_complete(first)
    saved = next(line for line in first.log.splitlines() if "saving iteration" in line)
    completed = int(saved.split("saving iteration ")[1].split()[0])
    assert f"resuming from {first.output}/model_{completed - 1:07d}.pth" in first.log


def test_a_pod_that_is_lost_is_replaced_while_the_first_lives_on(launcher: Launcher, tiny_data: Path) -> None:
    gang = Gang(launcher, tiny.job(tiny_data, overrides=LONG))
    first, second = gang.start(0), gang.start(1)
    first.wait_for_row(5)
    for process in [psutil.Process(second.process.pid), worker(second)]:
        process.kill()
    replacement = gang.start(1)
    assert (first.wait(), replacement.wait()) == (0, 0), first.log + replacement.log
    check_complete(first)


def test_a_pod_that_is_told_to_stop_is_replaced_too(launcher: Launcher, tiny_data: Path) -> None:
    gang = Gang(launcher, tiny.job(tiny_data, overrides=LONG))
    first, second = gang.start(0), gang.start(1)
    first.wait_for_row(5)
    second.process.terminate()
    assert second.wait() == 128 + signal.SIGTERM
    assert second.verdict["reason"] == "Preempted", second.log
    replacement = gang.start(1)
    assert (first.wait(), replacement.wait()) == (0, 0), first.log + replacement.log
    check_complete(first)


def test_a_final_verdict_ends_every_pod_at_once(launcher: Launcher, tiny_data: Path) -> None:
    options: Any = {"fault": {"kind": "nan", "rank": 1, "step": 5}}
    gang = Gang(launcher, faulty_job(tiny_data))
    first, second = gang.start(0, **options), gang.start(1, **options)
    for run in (first, second):
        assert run.wait() == 1, run.log
        assert run.verdict["reason"] == "NonFiniteLoss"
        assert run.log.count("NonFiniteLoss: losses at iteration 5") == 1


def test_a_pod_ends_with_the_exit_code_of_its_worker(launcher: Launcher, tiny_data: Path) -> None:
    wiring = {"PET_STANDALONE": "1", "PET_MAX_RESTARTS": "0", "PET_NNODES": "1", "PET_NPROC_PER_NODE": "1"}
    run = launcher.start(tiny.job(tiny_data, overrides=LONG), agent=wiring)
    run.wait_for_row(1)
    worker(run).kill()
    assert run.wait() == 128 + signal.SIGKILL, run.log
    assert run.verdict == {
        "reason": "ProcessFailed",
        "message": "rank 0 was ended by SIGKILL",
        "rank": 0,
        "retryable": True,
    }


def test_an_elastic_gang_goes_on_with_fewer_pods_and_takes_in_more(
    launcher: Launcher, tiny_data: Path
) -> None:
    endless = tiny.job(tiny_data, overrides=(*LONG, "SOLVER.MAX_ITER 100000"))
    gang = Gang(launcher, endless, elastic={"minNodes": 1, "maxNodes": 2})
    first, second = gang.start(0), gang.start(1)
    first.wait_for_row(5)
    for process in [psutil.Process(second.process.pid), worker(second)]:
        process.kill()
    first.wait_for_log("resuming from")
    gang.start(1)
    first.wait_for_log("resuming from", times=2)
    first.wait_for_row(first.rows[-1]["iteration"] + 5)
    first.process.terminate()
    first.wait()
    assert first.verdict["reason"] == "Preempted", first.log
    assert first.message["worldSize"] == 2
    assert [row["iteration"] for row in first.rows] == list(range(len(first.rows)))


def test_rank_0_does_not_wait_for_a_silent_peer_when_it_is_told_to_stop(
    launcher: Launcher, tiny_data: Path
) -> None:
    gang = Gang(launcher, tiny.job(tiny_data, overrides=(*LONG, "SOLVER.MAX_ITER 100000")))
    first, second = gang.start(0), gang.start(1)
    first.wait_for_row(5)
    for process in [psutil.Process(second.process.pid), worker(second)]:
        process.suspend()
    first.process.terminate()
    assert first.wait() == 128 + signal.SIGTERM, first.log
    completed = first.message["iteration"]
    assert first.verdict["reason"] == "Preempted"
    assert first.verdict["message"].startswith(f"stopped after iteration {completed} without the other ranks")
    assert first.message["lastCheckpoint"]["iteration"] == completed
    assert (first.output / "last_checkpoint").read_text() == f"model_{completed - 1:07d}.pth"


def test_a_pod_that_still_waits_for_its_peers_ends_when_it_is_told_to(
    launcher: Launcher, tiny_data: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        gang = Gang(launcher, tiny.job(tiny_data), port=str(silent.getsockname()[1]))
        waiting = gang.start(1)
        connection, _ = silent.accept()
        with connection:
            waiting.process.terminate()
            # As a shell has it of a process that heeds the signal; one that does not would wait for minutes.
            assert waiting.process.wait(timeout=10) == 128 + signal.SIGTERM
