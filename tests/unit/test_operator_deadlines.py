"""Deadlines of a job, of an attempt's start, and of progress; and what a finished job leaves behind."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from detectron_operator import progress as progress_document
from detectron_operator import reasons
from detectron_operator.api import SpecError
from detectron_operator.plan import DeletePod, Event, Plan, Refusal, plan_invalid
from detectron_operator.plan.stalling import MARGIN, PROBED, QUIET
from detectron_operator.progress import Progress
from tests.unit.operator_objects import (
    after,
    document,
    failed,
    gang,
    gated,
    pod,
    raw_job,
    succeeded,
    suspended,
    work,
)
from tests.unit.planned_life import GANG_1, Life, children, running


def policy(**fields: object) -> dict[str, Any]:
    return suspended(False) | fields


def told(iteration: int = 50, *, phase: str = "Training", at: float = 0.0, **done: Any) -> Progress:
    raw = document(0, iteration, at=at, phase=phase, work=work(trained=iteration, **done))
    return progress_document.parse(json.dumps(raw))


def unready(*, at: float) -> dict[str, str]:
    moment = after(at).isoformat()
    return {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "lastTransitionTime": moment}


class TestActive:
    def test_a_job_that_takes_too_long_fails_and_saves_what_it_has(self) -> None:
        life = running(runPolicy=policy(activeDeadlineSeconds=100))
        life.now = after(40)
        assert life.look(gang()).requeue_after == 60
        life.now = after(100)
        step = life.step(gang())
        assert life.status["phase"] == "Failed"
        assert life.status["failure"]["reason"] == life.condition("Failed")["reason"] == "DeadlineExceeded"
        message = "Active for longer than runPolicy.activeDeadlineSeconds, which is 100"
        assert step.events == (Event(reasons.DEADLINE_EXCEEDED, message, fatal=True),)
        assert [deletion.grace_seconds for deletion in life.step(gang()).delete] == [None, None]

    def test_suspended_time_does_not_count(self) -> None:
        life = running(runPolicy=policy(activeDeadlineSeconds=100))
        life.now = after(60)
        life.suspend(True)
        life.step(gang())
        life.step()
        life.now = after(5000)
        assert life.look().status is None
        life.suspend(False)
        life.step()
        life.step(gang(1))
        life.now = after(5039)
        assert life.look(gang(1)).requeue_after == 1
        life.now = after(5040)
        life.step(gang(1))
        assert life.status["phase"] == "Failed"

    def test_time_behind_a_scheduling_gate_does_not_count(self) -> None:
        life = Life(runPolicy=policy(activeDeadlineSeconds=100))
        life.step()
        life.now = after(10)
        life.step(gated())
        life.now = after(5000)
        assert life.look(gated()).status is None
        life.step(gang(phase="Pending"))
        life.now = after(5030)
        life.step(gang())
        assert life.look(gang()).requeue_after == 60
        account = life.status["goodput"]
        assert (account["queuedSeconds"], account["pendingSeconds"]) == (4990, 40)
        assert (life.status["phase"], account["percentage"]) == ("Running", 0)
        life.now = after(5090)
        life.step(gang())
        assert life.status["failure"]["reason"] == "DeadlineExceeded"

    def test_nor_does_it_for_a_gang_that_has_to_queue_again(self) -> None:
        life = running(runPolicy=policy(activeDeadlineSeconds=100))
        life.now = after(60)
        preempted = [
            {"type": "DisruptionTarget", "status": "True", "reason": "WorkloadEvictedDueToPreempted"}
        ]
        life.step([failed(index, conditions=preempted) for index in range(2)])
        life.step()
        life.step(gated(1))
        life.now = after(5000)
        life.step(gang(1))
        assert life.status["phase"] == "Running"
        assert life.status["goodput"]["queuedSeconds"] == 4940
        assert "losses" not in life.status["goodput"]

    def test_survivors_hold_their_nodes_while_a_replacement_is_held_back(self) -> None:
        life = running(runPolicy=policy(activeDeadlineSeconds=100))
        life.now = after(60)
        life.step([pod(), failed(1)])
        assert life.status["replacements"] == [{"index": 1, "count": 1}]
        life.step([pod(), *gated(replacement=1)[1:]])
        assert life.condition("Running")["reason"] == "SchedulingGated"
        life.now = after(100)
        life.step([pod(), *gated(replacement=1)[1:]])
        assert life.status["failure"]["reason"] == "DeadlineExceeded"

    def test_it_can_be_extended(self) -> None:
        life = running(runPolicy=policy(activeDeadlineSeconds=100))
        life.raw["spec"]["runPolicy"]["activeDeadlineSeconds"] = 200
        life.now = after(150)
        life.step(gang())
        assert life.status["phase"] == "Running"

    def test_success_in_time_that_is_seen_too_late_is_success(self) -> None:
        life = running(runPolicy=policy(activeDeadlineSeconds=100))
        life.now = after(500)
        life.step([succeeded()])
        assert life.status["phase"] == "Succeeded"


class TestStartup:
    STUCK = pod(0, 0, "Pending", waiting={"reason": "ErrImagePull", "message": "no such image"})

    def test_a_gang_that_waits_too_long_fails_in_the_kubelet_s_words(self) -> None:
        life = Life(runPolicy=policy(startupDeadlineSeconds=60))
        life.step()
        life.now = after(50)
        assert life.step([self.STUCK, pod(0, 1)]).requeue_after == 10
        assert life.status["phase"] == "Pending"
        life.now = after(60)
        life.step([self.STUCK, pod(0, 1)])
        assert life.status["phase"] == "Failed"
        assert life.status["failure"]["reason"] == "StartupDeadlineExceeded"
        assert "ErrImagePull: no such image" in life.status["message"]

    def test_a_gang_that_runs_has_kept_it(self) -> None:
        life = running(runPolicy=policy(startupDeadlineSeconds=60))
        life.now = after(600)
        assert life.look(gang()).status is None

    def test_what_cannot_be_created_waits_too(self) -> None:
        life = Life(runPolicy=policy(startupDeadlineSeconds=60))
        life.step(refusal=Refusal(reasons.CREATE_REFUSED, "exceeded quota: few"))
        life.now = after(59)
        assert children(life.look())
        life.now = after(61)
        life.step(refusal=Refusal(reasons.CREATE_REFUSED, "exceeded quota: few"))
        assert life.status["phase"] == "Pending"
        life.step()
        assert life.status["phase"] == "Failed"
        assert "exceeded quota: few" in life.status["message"]

    def test_what_came_before_an_attempt_is_not_its_start(self) -> None:
        life = running(runPolicy=policy(startupDeadlineSeconds=60))
        life.now = after(1000)
        life.step([failed(0), pod(0, 1)])
        assert children(life.step([failed(0)])) == GANG_1


class TestProgress:
    @pytest.mark.parametrize(
        ("said", "limit"),
        [
            ({"iterationSecondsP99": 4.0}, timedelta(seconds=8) + MARGIN),
            ({}, QUIET),
            ({"iterationSecondsP99": 4.0, "phase": "Evaluating"}, QUIET),
            ({"iterationSecondsP99": 4.0, "phase": "Checkpointing"}, QUIET),
            ({"phase": "Starting"}, QUIET),
        ],
    )
    def test_how_long_a_gang_may_stand_still(self, said: dict[str, Any], limit: timedelta) -> None:
        life = running()
        life.now = after(10)
        life.step(gang(), told(idle=limit.total_seconds() - 1, **said))
        assert life.status["phase"] == "Running"
        life.step(gang(), told(idle=limit.total_seconds(), **said))
        assert life.status["phase"] == "Restarting"
        assert life.condition("Restarting")["reason"] == "ProgressDeadlineExceeded"
        assert life.status["restarts"] == 1

    def test_it_is_said_what_hung_and_peers_are_stopped_before_rank_0(self) -> None:
        life = running()
        step = life.step(gang(), told(idle=31.2, iterationSecondsP99=5.0))
        assert step.events[0].type == "Warning"
        assert "no progress for 31 s, Training at iteration 50; 30 s are allowed" in step.events[0].message
        stop = life.step(gang())
        assert [(d.name, d.grace_seconds) for d in stop.delete] == [("train-0-1", 2), ("train-0-0", 12)]

    def test_the_job_s_own_deadline_holds_in_every_phase(self) -> None:
        life = running(runPolicy=policy(progressDeadlineSeconds=60))
        life.step(gang(), told(idle=59, phase="Evaluating", iterationSecondsP99=1))
        assert life.status["phase"] == "Running"
        life.step(gang(), told(idle=60, phase="Evaluating", iterationSecondsP99=1))
        assert life.status["phase"] == "Restarting"

    def test_zero_turns_it_off(self) -> None:
        life = running(runPolicy=policy(progressDeadlineSeconds=0))
        life.step(gang(), told(idle=1e6, iterationSecondsP99=1))
        assert life.status["phase"] == "Running"

    def test_a_loop_of_the_user_s_own_is_watched_where_the_job_asks_for_it(self) -> None:
        life = running(trainer="mine:main")
        life.step(gang(), told(idle=1e6, iterationSecondsP99=1))
        assert life.status["phase"] == "Running"
        life = running(trainer="mine:main", runPolicy=policy(progressDeadlineSeconds=60))
        life.step(gang(), told(idle=61))
        assert life.status["phase"] == "Restarting"

    def test_a_pod_that_answers_neither_us_nor_its_kubelet_hangs(self) -> None:
        life = running()
        spoke = told(iterationSecondsP99=2.0)
        life.step(gang(), spoke)
        deaf = [pod(0, 0, conditions=[unready(at=60)]), pod(0, 1)]
        due = after(60 + 4) + MARGIN - PROBED
        life.now = due - timedelta(seconds=1)
        assert life.step(deaf, spoke, mute=True).requeue_after == 1
        life.now = due
        life.step(deaf, spoke)
        assert life.status["phase"] == "Running"
        life.step(deaf, spoke, mute=True)
        assert life.condition("Restarting")["reason"] == "ProgressDeadlineExceeded"

    def test_a_pod_that_never_spoke_is_not_taken_for_hung(self) -> None:
        life = running()
        life.now = after(100_000)
        life.step([pod(0, 0, conditions=[unready(at=60)]), pod(0, 1)], mute=True)
        assert life.status["phase"] == "Running"

    def test_an_operator_that_begins_anew_knows_that_it_spoke(self) -> None:
        life = running()
        life.step(gang(), told(iterationSecondsP99=2.0))
        life.now = after(60) + QUIET
        life.step([pod(0, 0, conditions=[unready(at=60)]), pod(0, 1)], mute=True)
        assert life.status["phase"] == "Restarting"

    def test_a_gang_that_waits_for_a_pod_does_not_hang(self) -> None:
        life = running()
        step = life.step([pod(0, 0), pod(0, 1, "Pending")], told(idle=1e6, iterationSecondsP99=1))
        assert life.status["restarts"] == 0
        assert step.requeue_after is None

    def test_words_of_an_earlier_attempt_say_nothing_of_this_one(self) -> None:
        life = running()
        life.step([failed(0), pod(0, 1)], told(idle=5))
        life.step([failed(0)])
        life.step([failed(0), *gang(1)], told(idle=1e6, iterationSecondsP99=1))
        assert (life.status["phase"], life.status["attempt"]) == ("Running", 1)

    def test_a_rule_of_the_job_decides_what_follows(self) -> None:
        rules = [{"action": "Fail", "onReasons": ["ProgressDeadlineExceeded"]}]
        life = running(runPolicy=policy(failurePolicy={"rules": rules}))
        life.step(gang(), told(idle=31, iterationSecondsP99=5.0))
        assert life.status["phase"] == "Failed"
        assert life.status["failure"]["reason"] == "ProgressDeadlineExceeded"


class TestFinished:
    BOTH = (succeeded(), succeeded(1))

    def ended(self, **fields: object) -> Life:
        life = running(runPolicy=policy(**fields))
        life.step(self.BOTH)
        life.step(self.BOTH)
        assert life.status["phase"] == "Succeeded"
        return life

    def test_ended_pods_keep_their_logs(self) -> None:
        life = self.ended()
        life.now = after(100_000)
        assert life.look(self.BOTH).delete == ()

    def test_or_go_where_the_job_asks_for_it(self) -> None:
        life = self.ended(cleanPodPolicy="All")
        assert life.step(self.BOTH).delete == (
            DeletePod("train-0-0", "uid-1-0-0", None),
            DeletePod("train-0-1", "uid-1-0-1", None),
        )
        assert life.status["replicaStatuses"]["succeeded"] == 2

    def test_a_failed_job_stops_what_runs_before_it_drops_what_failed(self) -> None:
        life = running(runPolicy=policy(cleanPodPolicy="All"))
        life.step([failed(0, reason="InvalidConfig", retryable=False), pod(0, 1)])
        assert [d.name for d in life.step([failed(0), pod(0, 1)]).delete] == ["train-0-1"]
        assert life.step([failed(0)]).delete == ()
        assert [d.name for d in life.step([failed(0)]).delete] == ["train-0-0"]

    def test_a_job_is_deleted_when_its_time_has_come(self) -> None:
        life = self.ended(ttlSecondsAfterFinished=60)
        life.now = after(20)
        look = life.look(self.BOTH)
        assert (look.delete_job, look.requeue_after) == (False, 40)
        life.now = after(60)
        assert life.look(self.BOTH).delete_job

    def test_so_is_one_that_could_not_be_honoured(self) -> None:
        raw = raw_job(numNodes=0, runPolicy=policy(ttlSecondsAfterFinished=60))
        error = SpecError("spec.numNodes", "is 0")
        raw["status"] = plan_invalid(raw, (), error, after(0)).status
        assert plan_invalid(raw, (), error, after(20)) == Plan(requeue_after=40)
        assert plan_invalid(raw, (), error, after(60)) == Plan(delete_job=True)
        raw["spec"]["runPolicy"] = "none"
        assert plan_invalid(raw, (), error, after(60)) == Plan()

    def test_its_time_can_be_changed(self) -> None:
        life = self.ended()
        life.now = after(60)
        assert not life.look().delete_job
        life.raw["spec"]["runPolicy"]["ttlSecondsAfterFinished"] = 0
        assert life.look().delete_job
