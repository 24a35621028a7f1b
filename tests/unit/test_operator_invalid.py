"""Objects that cannot be parsed: of new jobs, and of those that another operator has started."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectron_operator import reasons
from detectron_operator.api import SpecError
from detectron_operator.observed import Pod
from detectron_operator.plan import Event, Plan, plan_invalid
from tests.unit.operator_objects import (
    START,
    after,
    check_pod,
    failed,
    gang,
    pod,
    raw_job,
    succeeded,
    unreachable,
)
from tests.unit.planned_life import Life, running, spoken
from tests.unit.telling import held_to_the_reference

ERROR = SpecError("spec.numNodes", "is 0, must lie in 1..512")


class Misread:
    """A job whose spec is understood no longer, and whose every plan is written down."""

    def __init__(self, life: Life) -> None:
        self.life = life

    @property
    def status(self) -> dict[str, Any]:
        return self.life.status

    def step(self, *pods: Pod, now: datetime = START, error: SpecError = ERROR) -> Plan:
        done = held_to_the_reference(self.status, plan_invalid(self.life.raw, pods, error, now))
        if done.status is not None:
            self.life.raw["status"] = json.loads(json.dumps(done.status))
        return done

    def reason(self, kind: str) -> str:
        return str(self.life.condition(kind)["reason"])


class TestNew:
    def test_it_fails_once_and_says_why(self) -> None:
        raw = raw_job(numNodes=0)
        step = plan_invalid(raw, (), ERROR, START)
        assert step.status is not None
        assert step.status["phase"] == "Failed"
        assert step.status["message"] == "spec.numNodes: is 0, must lie in 1..512"
        assert step.status["failure"] == {"reason": "InvalidSpec", "message": step.status["message"]}
        assert step.events == (Event(reasons.INVALID_SPEC, str(ERROR), fatal=True),)
        assert plan_invalid(raw | {"status": step.status}, (), ERROR, after(60)) == Plan()

    @pytest.mark.parametrize("raw", [{}, {"metadata": 1, "status": "x"}, {"metadata": {"generation": "1"}}])
    def test_whatever_it_looks_like(self, raw: Mapping[str, object]) -> None:
        step = plan_invalid(raw, (), ERROR, START)
        assert step.status is not None
        assert step.status["phase"] == "Failed"

    def test_one_that_has_ended_stays_as_it_is(self) -> None:
        assert plan_invalid(raw_job(status={"phase": "Succeeded"}), (), ERROR, START) == Plan()


class TestRunning:
    def test_training_goes_on_and_it_is_told_once(self) -> None:
        job = Misread(running())
        step = job.step(*gang(), now=after(60))
        assert (step.delete, step.create, job.status["phase"]) == ((), (), "Running")
        assert [(event.reason, event.type) for event in step.events] == [("InvalidSpec", "Warning")]
        assert job.reason("Running") == "InvalidSpec"
        assert job.life.condition("Running")["status"] == "True"
        assert job.status["message"].startswith(str(ERROR))
        assert "delete the job" in job.status["message"]
        assert job.step(*gang(), now=after(120)) == Plan()
        other = job.step(*gang(), now=after(120), error=SpecError("spec.image", "is empty"))
        assert (other.events, job.status["phase"]) == ((), "Running")
        assert "spec.image" in job.status["message"]

    def test_an_operator_that_takes_it_goes_on_as_if_nothing_had_been(self) -> None:
        job = Misread(running())
        job.step(*gang(), now=after(60))
        step = job.life.step(gang())
        assert (step.create, step.delete, step.events) == ((), (), ())
        assert (job.status["phase"], job.status["attempt"]) == ("Running", 0)
        assert job.reason("Running") == "GangRunning"

    def test_it_fails_when_the_last_pod_has_ended(self) -> None:
        job = Misread(running())
        job.life.now = after(10)
        job.life.step(gang(), spoken(iteration=100, at=10))
        job.step(*gang(), now=after(60))
        ending = job.step(failed(0), pod(0, 1), now=after(100))
        assert [deleted.name for deleted in ending.delete] == ["train-0-1"], "no training without node 0"
        assert job.status["phase"] == "Running"
        step = job.step(failed(0), failed(1), now=after(110))
        assert (job.status["phase"], job.reason("Failed")) == ("Failed", "InvalidSpec")
        assert job.status["failure"] == {"reason": "InvalidSpec", "message": str(ERROR)}
        assert job.status["replicaStatuses"] == {"active": 0, "ready": 0, "succeeded": 0, "failed": 2}
        assert job.status["iteration"] == 100
        assert "eta" not in job.status
        assert job.status["goodput"]["runningSeconds"] == 110
        assert [event.reason for event in step.events] == ["InvalidSpec"]
        assert job.step(failed(0), failed(1), now=after(120)) == Plan()

    def test_one_that_completes_has_succeeded(self) -> None:
        job = Misread(running())
        job.step(*gang())
        ending = job.step(succeeded(0), pod(0, 1), now=after(100))
        assert ([deleted.name for deleted in ending.delete], ending.status) == (["train-0-1"], None)
        job.step(succeeded(0), failed(1), now=after(105))
        assert (job.status["phase"], job.reason("Complete")) == ("Succeeded", "TrainingCompleted")
        assert job.status["iteration"] == 1000
        assert "failure" not in job.status

    def test_a_pod_on_a_lost_node_does_not_hold_it_up(self) -> None:
        job = Misread(running())
        lost = pod(0, 0, conditions=unreachable(0))
        assert job.step(lost, pod(0, 1)).requeue_after == 15
        step = job.step(lost, pod(0, 1), now=after(15))
        assert [(deleted.name, deleted.grace_seconds) for deleted in step.delete] == [
            ("train-0-0", 0),
            ("train-0-1", 10),
        ]

    def test_a_check_trains_nothing_and_goes(self) -> None:
        life = Life(preflight={"timeoutSeconds": 60, "resources": {}, "enabled": True})
        life.step()
        job = Misread(life)
        assert [deleted.name for deleted in job.step(check_pod()).delete] == ["train-preflight"]
        assert job.status["phase"] == "Pending"
        job.step()
        assert job.status["phase"] == "Failed"

    def test_one_that_has_ended_holds_no_pod(self) -> None:
        life = running()
        life.step([failed(0, reason="InvalidConfig", retryable=False), pod(0, 1)])
        assert life.status["phase"] == "Failed"
        step = Misread(life).step(failed(0), pod(0, 1))
        assert ([deleted.name for deleted in step.delete], step.status) == (["train-0-1"], None)


PHASES = st.sampled_from(["Pending", "Running", "Failed", "Succeeded", "Unknown"])


@given(phases=st.lists(PHASES, max_size=4), deleting=st.booleans(), ended=st.booleans())
def test_it_never_ends_while_a_pod_is_alive_and_settles(
    phases: Sequence[str], deleting: bool, ended: bool
) -> None:
    life = running()
    if ended:
        life.step([failed(0, reason="InvalidConfig", retryable=False), pod(0, 1)])
    pods = [pod(0, index, phase, deleting=deleting) for index, phase in enumerate(phases)]
    job = Misread(life)
    before = job.status["phase"]
    step = job.step(*pods)
    if any(seen.alive for seen in pods):
        assert job.status["phase"] == before
    else:
        assert job.status["phase"] in reasons.TERMINAL
    again = job.step(*pods)
    assert (again.status, again.events, again.delete) == (None, (), step.delete)
