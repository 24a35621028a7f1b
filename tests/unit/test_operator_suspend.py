"""Jobs that are suspended and resumed."""

from __future__ import annotations

import json

from detectron_operator import reasons
from detectron_operator.plan import DeletePod, Event, Plan
from tests.unit.operator_objects import after, document, failed, gang, pod, suspended
from tests.unit.planned_life import GANG_0, GANG_1, Life, children, running


class TestSuspend:
    def test_suspended_from_birth_has_no_children(self) -> None:
        life = Life(runPolicy=suspended(True))
        step = life.step()
        assert step.create == ()
        assert step.events == (Event(reasons.SUSPEND_REQUESTED, "Suspended: runPolicy.suspend is set"),)
        assert life.status["phase"] == "Suspended"
        assert "startTime" not in life.status
        assert life.condition("Suspended")["status"] == "True"
        assert life.look() == Plan()

    def test_its_first_attempt_is_still_number_0(self) -> None:
        life = Life(runPolicy=suspended(True))
        life.step()
        life.suspend(False)
        life.now = after(50)
        resumed = life.step()
        assert resumed.create == ()
        assert resumed.events[0].reason == "Resumed"
        assert children(life.step()) == GANG_0
        assert life.status["startTime"] == "2026-03-01T12:00:50Z"
        assert life.condition("Suspended")["status"] == "False"
        assert life.condition("Suspended")["reason"] == "Resumed"

    def test_pods_save_a_checkpoint_before_the_job_is_suspended(self) -> None:
        life = running()
        life.suspend(True)
        stopping = life.step(gang())
        assert stopping.delete == (
            DeletePod("train-0-0", "uid-1-0-0", None),
            DeletePod("train-0-1", "uid-1-0-1", None),
        )
        assert life.status["phase"] == "Running"
        assert life.condition("Running")["reason"] == "Suspending"
        assert life.status["observedGeneration"] == 2
        leaving = [pod(0, 0, deleting=True), pod(0, 1, deleting=True)]
        assert life.step(leaving).delete == ()
        checkpoint = {"iteration": 7, "path": "/output/m.pth", "time": after(1).isoformat()}
        words = json.dumps(document(0, 7, lastCheckpoint=checkpoint))
        gone = [pod(0, 0, "Failed", deleting=True, terminated={"exitCode": 1, "message": words})]
        life.step(gone)
        assert life.status["phase"] == "Suspended"
        assert life.status["lastCheckpoint"]["iteration"] == 7
        assert "eta" not in life.status
        life.step()
        assert life.status["lastCheckpoint"]["iteration"] == 7
        assert life.look() == Plan()

    def test_resume_is_the_next_attempt_and_no_restart(self) -> None:
        life = running()
        life.suspend(True)
        life.step(gang())
        life.step()
        life.suspend(False)
        resumed = life.step()
        assert (resumed.create, resumed.events[0].reason) == ((), "Resumed")
        assert (life.status["attempt"], life.status["restarts"], life.status["phase"]) == (1, 0, "Pending")
        assert children(life.step()) == GANG_1
        life.step(gang(1))
        assert life.status["phase"] == "Running"

    def test_resumed_before_the_pods_have_stopped(self) -> None:
        life = running()
        life.suspend(True)
        life.step(gang())
        life.suspend(False)
        leaving = [pod(0, 0, deleting=True), pod(0, 1, deleting=True)]
        assert life.step(leaving).events[0].reason == "Resumed"
        assert life.step(leaving).create == ()
        assert children(life.step([])) == GANG_1

    def test_suspended_in_the_middle_of_a_restart(self) -> None:
        life = running()
        life.step([failed(), pod(0, 1)])
        life.suspend(True)
        assert life.step([failed(), pod(0, 1)]).delete == (DeletePod("train-0-1", "uid-1-0-1", None),)
        life.step([failed(), failed(1)])
        assert life.status["phase"] == "Suspended"
        assert life.condition("Restarting")["status"] == "False"
        assert life.status["restarts"] == 1
