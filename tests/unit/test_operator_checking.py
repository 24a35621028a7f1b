"""The check before the gang: what is created, what ends it, and what the status says meanwhile."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from detectron_operator import reasons
from detectron_operator.observed import Pod
from detectron_operator.plan import Plan, Refusal, plan
from tests.unit.operator_objects import (
    DEFAULTS,
    START,
    after,
    check_pod,
    document,
    gang,
    job,
    suspended,
    verdict,
)
from tests.unit.telling import held_to_the_reference

GPUS = {"limits": {"nvidia.com/gpu": "8"}}
RENAMED = {"limits": {"nvidia.com/a100": "8"}}
NETWORK = {"limits": {"rdma/hca": "1"}}
CHECKED = {"timeoutSeconds": 60, "resources": {}, "enabled": True}
CHECKING = {"phase": "Checking", "startTime": "2026-03-01T12:00:00Z"}
PROBLEMS = "SOLVER.IMS_PER_BATCH 3: must be divisible\nspec.datasets[0].images: does not exist"


def look(*pods: Pod, status: object = None, now: datetime = START, **fields: Any) -> Plan:
    given = {"preflight": CHECKED, "status": status} | fields
    step = plan(job(**given), pods, None, now, DEFAULTS)
    return held_to_the_reference(status if isinstance(status, dict) else {}, step)


def written(step: Plan) -> dict[str, Any]:
    assert step.status is not None
    return dict(step.status)


def running_reason(status: dict[str, Any]) -> str:
    return next(str(item["reason"]) for item in status["conditions"] if item["type"] == "Running")


def kinds(step: Plan) -> list[str]:
    return [f"{child.kind} {child.name}" for child in step.create]


def ended(exit_code: int, reason: str, message: str) -> Pod:
    said = document(0, 0, verdict=verdict(reason, retryable=False, message=message))
    terminated = {"exitCode": exit_code, "message": json.dumps(said)}
    return check_pod("Succeeded" if exit_code == 0 else "Failed", terminated=terminated)


@pytest.mark.parametrize(
    ("fields", "checked"),
    [
        ({"preflight": {"timeoutSeconds": 60}}, False),
        ({"preflight": {"timeoutSeconds": 60}, "resourcesPerNode": GPUS}, True),
        ({"preflight": {"timeoutSeconds": 60, "enabled": False}, "resourcesPerNode": GPUS}, False),
        ({"preflight": {"timeoutSeconds": 60}, "resourcesPerNode": RENAMED, "numProcPerNode": 8}, True),
        ({"preflight": {"timeoutSeconds": 60}, "resourcesPerNode": NETWORK}, False),
        ({"preflight": {"timeoutSeconds": 60, "enabled": True}}, True),
    ],
)
def test_a_gang_with_gpus_is_checked_unless_said_otherwise(fields: dict[str, Any], checked: bool) -> None:
    created = kinds(look(**fields))
    assert ("Pod train-preflight" in created) is checked
    assert ("Pod train-0-0" in created) is not checked


def test_the_check_comes_with_what_it_mounts_and_nothing_else() -> None:
    step = look(output={"claim": {"size": "1Gi", "accessModes": ["ReadWriteOnce"], "whenDeleted": "Retain"}})
    assert kinds(step) == ["ConfigMap train", "PersistentVolumeClaim train-output", "Pod train-preflight"]
    status = written(step)
    assert (status["phase"], running_reason(status)) == ("Pending", "Checking")
    assert status["preflight"] == CHECKING
    assert step.events == ()


def test_a_stuck_check_says_why() -> None:
    waiting = {"reason": "ErrImagePull", "message": "no such image"}
    status = written(look(check_pod("Pending", waiting=waiting), status=written(look())))
    assert running_reason(status) == "ErrImagePull"
    assert status["message"] == "Waiting for pod train-preflight: ErrImagePull: no such image"


def test_a_check_that_never_starts_ends_with_the_startup_deadline() -> None:
    policy = suspended(False) | {"startupDeadlineSeconds": 100}
    before = look(check_pod("Pending"), status=written(look()), runPolicy=policy)
    assert before.requeue_after == 100
    late = look(check_pod("Pending"), status=written(look()), runPolicy=policy, now=after(100))
    assert written(late)["phase"] == "Failed"
    assert running_reason(written(late)) == "StartupDeadlineExceeded"
    stuck = check_pod("Pending", waiting={"reason": "ErrImagePull", "message": "no such image"})
    told = look(stuck, status=written(look()), runPolicy=policy, now=after(100))
    assert "no such image" in written(told)["message"]


def test_the_gang_follows_a_check_that_found_nothing() -> None:
    passed = look(ended(0, "Completed", "no problems; 100 iterations"), status=written(look()), now=after(12))
    assert kinds(passed) == []
    assert [(event.reason, event.type) for event in passed.events] == [("CheckPassed", "Normal")]
    record = written(passed)["preflight"]
    assert record == CHECKING | {
        "phase": "Passed",
        "completionTime": "2026-03-01T12:00:12Z",
        "message": "no problems; 100 iterations",
    }

    step = look(ended(0, "Completed", ""), status=written(passed), now=after(13))
    assert [name for name in kinds(step) if name.startswith("Pod")] == ["Pod train-0-0", "Pod train-0-1"]
    assert [deleted.name for deleted in step.delete] == ["train-preflight"]
    assert [event.reason for event in step.events] == ["Created"]
    assert written(step)["preflight"] == record

    running = look(*gang(), status=written(step), now=after(20))
    assert (written(running)["phase"], written(running)["preflight"]) == ("Running", record)


def test_what_the_check_finds_fails_the_job_and_no_gang_is_created() -> None:
    step = look(ended(2, "InvalidConfig", PROBLEMS), status=written(look()), now=after(9))
    status = written(step)
    assert status["phase"] == "Failed"
    assert status["failure"]["reason"] == "InvalidConfig"
    assert status["failure"]["message"] == PROBLEMS
    assert status["failure"]["pod"] == "train-preflight"
    assert (status["preflight"]["phase"], status["preflight"]["message"]) == ("Failed", PROBLEMS)
    assert [(event.reason, event.type) for event in step.events] == [("InvalidConfig", "Warning")]

    later = look(ended(2, "InvalidConfig", PROBLEMS), status=status, now=after(10))
    assert (kinds(later), later.status) == ([], None)
    assert [deleted.name for deleted in later.delete] == ["train-preflight"]


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        (check_pod("Failed", terminated={"exitCode": 137, "reason": "OOMKilled"}), "OOMKilled"),
        (check_pod("Failed", terminated={"exitCode": 1, "reason": "Error"}), "ended with exit code 1"),
        (check_pod("Failed", reason="DeadlineExceeded", message="too long"), "DeadlineExceeded: too long"),
    ],
)
def test_a_check_that_cannot_be_made_fails_the_job_and_says_what_to_do(pod: Pod, words: str) -> None:
    status = written(look(pod, status=written(look())))
    assert status["phase"] == "Failed"
    assert running_reason(status) == "PreflightFailed"
    assert status["failure"]["reason"] == "PreflightFailed"
    assert status["failure"]["message"] == status["message"]
    assert status["failure"]["pod"] == "train-preflight"
    assert words in status["message"]
    assert "spec.preflight" in status["message"]


REJECTED = check_pod("Failed", reason="OutOfcpu", message="no room")
EVICTED = check_pod(
    "Failed",
    terminated={"exitCode": 143},
    conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}],
)


@pytest.mark.parametrize(
    ("pod", "reason", "pause"),
    [
        (REJECTED, "PodRejected", 10),
        (check_pod("Failed", reason="NodeShutdown", message="going down"), "PodRejected", 10),
        (EVICTED, "PodDisrupted", 0),
    ],
)
def test_a_check_that_was_taken_away_is_made_anew_after_a_pause(pod: Pod, reason: str, pause: int) -> None:
    told = look(pod, status=written(look()))
    assert (told.delete, kinds(told), told.requeue_after) == ((), [], pause)
    assert [event.reason for event in told.events] == [reason]
    status = written(told)
    assert (status["phase"], running_reason(status)) == ("Pending", "BackOff")
    assert status["preflight"]["restarts"] == 1
    assert status["preflight"]["nextStartTime"] == f"2026-03-01T12:00:{pause:02}Z"
    assert f"pod train-preflight: {reason}" in status["message"]

    if pause:
        waiting = look(pod, status=status, now=after(pause - 1))
        assert (waiting.delete, waiting.status, waiting.events, waiting.requeue_after) == ((), None, (), 1)
    over = look(pod, status=status, now=after(pause))
    assert [deleted.name for deleted in over.delete] == ["train-preflight"]
    anew = look(status=status, now=after(pause))
    assert "Pod train-preflight" in kinds(anew)
    assert written(anew)["preflight"] == CHECKING | {"restarts": 1}
    assert running_reason(written(anew)) == "Checking"


def test_a_check_that_has_ended_and_that_its_node_never_lets_go_of_is_let_go_by_force() -> None:
    status = written(look(EVICTED, status=written(look())))
    told_to_stop = replace(EVICTED, stop_by=after(10), grace_seconds=30)
    waiting = look(told_to_stop, status=status, now=after(39))
    assert (waiting.delete, waiting.requeue_after) == ((), 30)
    (deleted,) = look(told_to_stop, status=status, now=after(40)).delete
    assert deleted.grace_seconds == 0


def test_a_check_that_is_gone_is_made_anew_at_once_and_later_the_next_time() -> None:
    status = written(look())
    pauses = []
    for _ in range(4):
        told = look(status=status)
        assert told.requeue_after is not None
        pauses.append(told.requeue_after)
        assert kinds(told) == []
        assert [event.reason for event in told.events] == ["PodDeleted"]
        status = written(look(status=written(told), now=after(told.requeue_after)))
    assert pauses[0] == 0
    assert all(
        0.8 * doubled <= pause <= doubled for pause, doubled in zip(pauses[1:], (5, 10, 20), strict=True)
    )
    assert status["preflight"]["restarts"] == 4


def test_a_check_that_is_rejected_without_end_is_made_anew_ever_more_rarely() -> None:
    step, created, seconds = look(), 1, 0.0
    status = written(step)
    while seconds < 3600:
        told = look(REJECTED, status=status, now=after(seconds))
        seconds += told.requeue_after or 0
        assert look(REJECTED, status=written(told), now=after(seconds)).delete
        step = look(status=written(told), now=after(seconds))
        created += "Pod train-preflight" in kinds(step)
        status = written(step)
    assert 10 < created < 25


def test_a_pause_outlasts_the_pod_that_it_is_for_and_a_clock_that_is_set_back_ends_it() -> None:
    status = written(look(REJECTED, status=written(look())))
    early = look(status=status, now=after(3))
    assert (kinds(early), early.requeue_after) == ([], 7)
    assert "Pod train-preflight" in kinds(look(status=status, now=after(-7200)))


def test_a_check_that_a_suspension_dismissed_begins_without_a_pause() -> None:
    halted = written(look(status=written(look()), runPolicy=suspended(True)))
    resumed = written(look(status=halted))
    step = look(status=resumed)
    assert "Pod train-preflight" in kinds(step)
    assert "restarts" not in written(step)["preflight"]


def test_a_check_that_is_refused_ends_with_the_startup_deadline() -> None:
    policy = suspended(False) | {"startupDeadlineSeconds": 60}
    refusal = Refusal(reasons.CREATE_REFUSED, "exceeded quota: few")

    given = job(preflight=CHECKED, runPolicy=policy)
    status = written(plan(given, (), None, START, DEFAULTS, refusal))
    assert (status["phase"], running_reason(status)) == ("Pending", "CreateRefused")
    assert "preflight" not in status, "there has been no pod"
    assert "Pod train-preflight" in kinds(look(status=status, now=after(59), runPolicy=policy))
    late = look(status=status, now=after(60), runPolicy=policy)
    assert (kinds(late), written(late)["phase"]) == ([], "Failed")
    assert written(late)["failure"]["reason"] == "StartupDeadlineExceeded"
    assert "exceeded quota: few" in written(late)["message"]


def test_a_suspended_job_is_not_checked() -> None:
    step = look(check_pod(), status=written(look()), runPolicy=suspended(True))
    assert written(step)["phase"] == "Suspended"
    assert [deleted.name for deleted in step.delete] == ["train-preflight"]
    assert kinds(step) == []


def test_a_running_gang_of_before_is_left_alone() -> None:
    assert kinds(look(*gang())) == ["Service train", "ConfigMap train"]


def test_a_restarted_gang_is_not_checked_again() -> None:
    passed = written(look(ended(0, "Completed", "fine"), status=written(look())))
    turned = {"type": "Restarting", "status": "True", "reason": "NodeLost", "message": "lost"}
    conditions = [*passed["conditions"], turned | {"lastTransitionTime": "2026-03-01T12:00:00Z"}]
    restarting = passed | {"phase": "Restarting", "attempt": 1, "conditions": conditions}
    assert "Pod train-1-0" in kinds(look(status=restarting))
