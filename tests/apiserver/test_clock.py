"""The clock of the operator's machine is set, or another one's is wrong: the API server's time counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.apiserver.conftest import StartOperator
from tests.apiserver.fake_trainer import DONE, FakeTrainer, progress
from tests.apiserver.space import Space

JOBS = ("trains", "ends", "stops", "falls")
ROUNDED = timedelta(seconds=2)
"""The times that are compared are whole seconds, as is the header that the operator's time comes from."""
LATE = timedelta(seconds=10)
"""What a busy machine may need on top."""


@pytest.mark.parametrize("offset", [3600, -3600])
def test_a_clock_that_is_an_hour_off_decides_nothing_early_and_nothing_late(
    offset: int, space: Space, start_operator: StartOperator, tmp_path: Path
) -> None:
    clock = tmp_path / "offset"
    clock.write_text("0")
    began = datetime.now(UTC)
    with FakeTrainer() as trainer:
        operator = start_operator(
            progress_port=trainer.port, resync_period=0.5, program=("tests.apiserver.moved_clock", str(clock))
        )
        create_jobs(space)
        due = moment(space.await_status("falls", attempt=2)["nextAttemptTime"])
        uids = {pod["metadata"]["uid"] for pod in space.api.list("pods")}

        clock.write_text(str(offset))
        allow(space, 1200)
        restarted = space.wait(lambda: space.api.find("pods", "falls-2-0"), "the second restart")
        assert due - ROUNDED <= moment(restarted["metadata"]["creationTimestamp"]) <= due + LATE

        # A failover to a machine whose clock is wrong from the first.
        operator.kill()
        operator.start()
        allow(space, 1201)
        trainer.document = progress(20)
        status = space.await_status("trains", phase="Running", iteration=20)
        account = status["goodput"]
        spent = account.get("pendingSeconds", 0) + account["runningSeconds"]
        assert timedelta(seconds=spent) <= datetime.now(UTC) - began + ROUNDED
        assert space.status("ends")["phase"] == "Succeeded"
        assert {pod["metadata"]["uid"] for pod in space.api.list("pods")} > uids
        assert [pod["metadata"]["name"] for pod in space.await_stopping(1)] == ["stops-0-0"]
        assert operator.health() == (200, '{"ailments": []}')

        limit(space, "trains", activeDeadlineSeconds=1)
        failure = space.await_status("trains", phase="Failed")["failure"]
        assert failure["reason"] == "DeadlineExceeded"
        limit(space, "ends", ttlSecondsAfterFinished=1)
        space.wait(lambda: not space.api.find("detectrontrainingjobs", "ends"), "the job to be gone")


def create_jobs(space: Space) -> None:
    """One that trains, one that has ended, one whose pod is stopping and one that has failed twice."""
    for name in JOBS:
        space.submit(name, 1)
        run(space, name, 0, ip="127.0.0.1" if name == "trains" else "127.0.0.2")
    space.kubelet.end("ends-0-0", 0, progress(100, phase="Finished", verdict=DONE))
    space.await_status("ends", phase="Succeeded")
    space.suspend(True, "stops")
    space.await_stopping(1)
    space.kubelet.end("falls-0-0", 1)
    run(space, "falls", 1)
    space.kubelet.end("falls-1-0", 1)


def run(space: Space, job: str, attempt: int, ip: str = "127.0.0.2") -> None:
    """Have the fake kubelet run the attempt's pod."""
    pod = f"{job}-{attempt}-0"
    space.wait(lambda: space.api.find("pods", pod), f"pod {pod}")
    space.kubelet.run(pod, ip)
    space.await_status(job, phase="Running", attempt=attempt)


def allow(space: Space, seconds: int) -> None:
    """Give every job so much time, and wait until the operator has looked at each of them."""
    for name in JOBS:
        limit(space, name, activeDeadlineSeconds=seconds, ttlSecondsAfterFinished=seconds)

    def seen() -> bool:
        jobs = map(space.job, JOBS)
        return all(job["status"]["observedGeneration"] == job["metadata"]["generation"] for job in jobs)

    space.wait(seen, "every job to be looked at")


def limit(space: Space, name: str, **limits: int) -> None:
    """Change how long the job may take, or how long it stays when it has ended."""
    space.api.merge("detectrontrainingjobs", name, {"spec": {"runPolicy": limits}})


def moment(written: str) -> datetime:
    """A time as Kubernetes writes it."""
    return datetime.fromisoformat(written)
