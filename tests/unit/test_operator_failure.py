"""`status.failure` has all that is known: which pod and node, which process, and how far it had come."""

from __future__ import annotations

import json
from typing import Any

import pytest

from detectron_operator.observed import Pod
from detectron_operator.progress import Progress
from tests.unit.operator_objects import (
    after,
    document,
    failed,
    gang,
    pod,
    suspended,
    unreachable,
    verdict,
)
from tests.unit.planned_life import TAKEN_AWAY, Life, running, spoken
from tests.unit.test_operator_deadlines import told

UNFORGIVING = suspended(False) | {
    "failurePolicy": {
        "rules": [
            {"action": "Fail", "onReasons": [word]}
            for word in ("NodeLost", "PodDisrupted", "PodDeleted", "ProgressDeadlineExceeded", "OOMKilled")
        ]
        + [{"action": "Fail", "onSignals": ["SIGSEGV"]}]
    }
}
SEGMENTATION = {"exitCode": 139, "reason": "Error"}
PENDING = {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}


def killed(**found: Any) -> Pod:
    """A pod of which the kernel killed a process, as the launcher beside it tells."""
    said = verdict("ProcessFailed", retryable=True, message="rank 1 was ended by SIGKILL", rank=1, **found)
    ended = {"exitCode": 137, "reason": "OOMKilled", "message": json.dumps(document(verdict=said))}
    return pod(0, 1, "Failed", terminated=ended)


@pytest.mark.parametrize(
    ("pods", "reason"),
    [
        pytest.param([pod(0, 0), pod(0, 1, conditions=unreachable(since=0))], "NodeLost", id="node"),
        pytest.param([pod(0, 0), pod(0, 1, "Failed", conditions=[TAKEN_AWAY])], "PodDisrupted", id="drain"),
        pytest.param([pod(0, 0), pod(0, 1, "Failed", terminated=SEGMENTATION)], "ProcessFailed", id="signal"),
        pytest.param([pod(0, 0), killed()], "OOMKilled", id="memory"),
        pytest.param([pod(0, 0)], "PodDeleted", id="deleted"),
    ],
)
def test_whatever_ends_a_job_its_last_iteration_is_known(pods: list[Pod], reason: str) -> None:
    life = running(runPolicy=UNFORGIVING)
    life.now = after(20)
    life.step(pods, spoken(iteration=321, at=10))
    failure = life.status["failure"]
    assert (failure["reason"], failure["pod"], failure["iteration"]) == (reason, "train-0-1", 321)


def test_the_iteration_of_a_verdict_is_more_exact() -> None:
    life = running(runPolicy=UNFORGIVING)
    life.step([pod(0, 0), killed(iteration=322)], spoken(iteration=321))
    assert (life.status["failure"]["iteration"], life.status["failure"]["rank"]) == (322, 1)


def test_it_is_known_to_an_operator_that_has_heard_nothing_itself() -> None:
    life = running(runPolicy=UNFORGIVING)
    life.step(gang(), told(40, at=1))
    life.now = after(20)
    life.step([pod(0, 0)])
    assert life.status["failure"]["iteration"] == 40


@pytest.mark.parametrize("said", [None, spoken(0, 40)])
def test_that_of_an_earlier_attempt_is_not_meant(said: Progress | None) -> None:
    life = running()
    life.step([failed(), pod(0, 1)], told(40))
    life.step([])
    life.step(gang(1))
    assert life.status["phase"] == "Running"
    life.raw["spec"]["runPolicy"] = UNFORGIVING
    life.step([pod(1, 0)], said)
    assert life.status["failure"]["reason"] == "PodDeleted"
    assert "iteration" not in life.status["failure"]


def test_a_gang_that_hangs_does_so_at_an_iteration() -> None:
    life = running(runPolicy=UNFORGIVING)
    life.step(gang(), told(50, idle=31, iterationSecondsP99=5.0))
    failure = life.status["failure"]
    assert (failure["reason"], failure["pod"], failure["node"], failure["iteration"]) == (
        "ProgressDeadlineExceeded",
        "train-0-0",
        "worker-0",
        50,
    )


def test_a_job_that_takes_too_long_got_to_an_iteration() -> None:
    life = running(runPolicy=suspended(False) | {"activeDeadlineSeconds": 60})
    life.now = after(60)
    life.step(gang(), spoken(iteration=7, at=59))
    assert life.status["failure"] == {
        "reason": "DeadlineExceeded",
        "message": life.status["message"],
        "iteration": 7,
    }


@pytest.mark.parametrize(
    ("late", "where"),
    [
        pytest.param([pod(0, 0, "Pending"), pod(0, 1, "Pending", **PENDING)], "train-0-1", id="stuck"),
        pytest.param([pod(0, 0), pod(0, 1, "Pending")], "train-0-1", id="silent"),
        pytest.param([], None, id="none"),
    ],
)
def test_a_gang_that_does_not_start_waits_for_a_pod(late: list[Pod], where: str | None) -> None:
    life = Life(runPolicy=suspended(False) | {"startupDeadlineSeconds": 60})
    life.step()
    life.step(late)
    life.now = after(61)
    if not late:
        life.raw["status"]["conditions"][0]["reason"] = "CreateRefused"
    life.step(late)
    failure = life.status["failure"]
    assert failure["reason"] == "StartupDeadlineExceeded"
    assert (failure.get("pod"), failure.get("node")) == (where, where and "worker-1")
    assert "iteration" not in failure


def test_the_cause_of_the_last_restart_stays_while_the_gang_runs_again() -> None:
    life = running()
    life.now = after(30)
    life.step([failed(), pod(0, 1)], told(40))
    cause = {
        "reason": "ProcessFailed",
        "message": "ended with exit code 1 and left no verdict",
        "pod": "train-0-0",
        "node": "worker-0",
        "exitCode": 1,
        "iteration": 40,
    }
    assert life.status["lastRestartCause"] == cause
    life.step([])
    life.step(gang(1))
    assert (life.status["phase"], life.status["attempt"]) == ("Running", 1)
    assert life.status["lastRestartCause"] == cause
    assert "failure" not in life.status


def test_a_replacement_is_a_restart_too_and_a_suspension_is_none() -> None:
    life = running()
    life.suspend(True)
    life.step(gang())
    life.step([])
    life.suspend(False)
    life.step([])
    life.step([])
    life.step(gang(1))
    assert (life.status["phase"], "lastRestartCause" in life.status) == ("Running", False)
    life.now = after(60)
    life.step([pod(1, 0), killed_in(1)], spoken(1, 55, at=50))
    assert life.status["attempt"] == 1
    assert (life.status["lastRestartCause"]["pod"], life.status["lastRestartCause"]["iteration"]) == (
        "train-1-1",
        55,
    )


def killed_in(attempt: int) -> Pod:
    """The second pod of an attempt, killed from outside."""
    return pod(attempt, 1, "Failed", terminated={"exitCode": 137, "reason": "Error"})
