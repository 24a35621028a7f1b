"""The plan, rule by rule."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest

from detectron_operator import progress as progress_document
from detectron_operator import reasons
from detectron_operator.api import parse
from detectron_operator.observed import Pod, observe_pod
from detectron_operator.plan import DeletePod, Event, Plan, Refusal, plan
from detectron_operator.progress import Progress
from detectron_operator.reasons import Reason
from tests.unit.operator_objects import (
    DEFAULTS,
    START,
    after,
    document,
    failed,
    gang,
    pod,
    raw_job,
    raw_pod,
    succeeded,
    suspended,
    unreachable,
    verdict,
)
from tests.unit.telling import held_to_the_reference

TAKEN_AWAY = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}


class Life:
    """A job whose every plan is written down, as the engine does."""

    def __init__(self, **fields: Any) -> None:
        self.raw = raw_job(**fields)
        self.now = START

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.raw.get("status", {}))

    def look(
        self,
        pods: Iterable[Pod] = (),
        progress: Progress | None = None,
        refusal: Refusal | None = None,
        mute: bool = False,
    ) -> Plan:
        """What would be done now."""
        step = plan(parse(self.raw), tuple(pods), progress, self.now, DEFAULTS, refusal, mute=mute)
        return held_to_the_reference(self.status, step)

    def step(self, pods: Iterable[Pod] = (), progress: Progress | None = None, **others: Any) -> Plan:
        """Do it."""
        done = self.look(pods, progress, **others)
        if done.status is not None:
            self.raw["status"] = json.loads(json.dumps(done.status))
        return done

    def suspend(self, value: bool) -> None:
        self.raw["spec"]["runPolicy"] = {**self.raw["spec"]["runPolicy"], "suspend": value}
        self.raw["metadata"]["generation"] += 1

    def scale(self, nodes: int) -> None:
        self.raw["spec"]["numNodes"] = nodes
        self.raw["metadata"]["generation"] += 1

    def condition(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = next(c for c in self.status["conditions"] if c["type"] == kind)
        return found


def running(**fields: Any) -> Life:
    """A job whose gang of two runs."""
    life = Life(**fields)
    life.step()
    life.step(gang())
    assert life.status["phase"] == "Running"
    return life


def children(step: Plan) -> list[tuple[str, str]]:
    return [(child.kind, child.name) for child in step.create]


def spoken(attempt: int = 0, iteration: int = 100, *, at: float = 0.0, **fields: object) -> Progress:
    return progress_document.parse(json.dumps(document(attempt, iteration, at=at, **fields)))


GANG_0 = [("Service", "train"), ("ConfigMap", "train"), ("Pod", "train-0-0"), ("Pod", "train-0-1")]
GANG_1 = [("Service", "train"), ("ConfigMap", "train"), ("Pod", "train-1-0"), ("Pod", "train-1-1")]


GANG_ONLY = {"maxRestarts": 0}
"""No pod is replaced: whatever is lost, the whole gang starts anew."""


class TestStart:
    def test_the_first_plan_creates_all_children_and_tells_of_it_once(self) -> None:
        life = Life()
        first = life.step()
        assert children(first) == GANG_0
        assert first.delete == ()
        assert first.events == (Event(reasons.CREATED, "Created a gang of 2 pods"),)
        assert life.status == {
            "observedGeneration": 1,
            "phase": "Pending",
            "message": "Waiting for 2 pods to run",
            "conditions": [
                {
                    "type": "Running",
                    "status": "False",
                    "observedGeneration": 1,
                    "lastTransitionTime": "2026-03-01T12:00:00Z",
                    "reason": "WaitingForPods",
                    "message": "Waiting for 2 pods to run",
                }
            ],
            "attempt": 0,
            "restarts": 0,
            "replicaStatuses": {"active": 2, "ready": 0, "succeeded": 0, "failed": 0},
            "startTime": "2026-03-01T12:00:00Z",
            "goodput": {"accountedTime": "2026-03-01T12:00:00Z"},
        }

    def test_an_unchanged_job_costs_nothing(self) -> None:
        life = Life()
        life.step()
        life.now = after(3600)
        assert life.look(gang(phase="Pending")) == Plan()

    def test_a_crash_before_the_status_leads_to_the_same_children(self) -> None:
        life = Life()
        first = life.look()
        assert life.look() == first
        again = life.look(gang(phase="Pending"))
        assert children(again) == GANG_0[:2]

    def test_only_what_is_missing_is_created(self) -> None:
        life = Life()
        life.step()
        assert children(life.look([pod(0, 1, "Pending")])) == GANG_0[:3]

    def test_a_pod_deleted_before_the_gang_ran_comes_back_once_it_is_gone(self) -> None:
        life = Life()
        life.step()
        leaving = pod(0, 1, "Pending", deleting=True)
        assert children(life.step([pod(0, 0), leaving])) == []
        assert children(life.step([pod(0, 0)])) == [*GANG_0[:2], GANG_0[3]]
        assert life.status["attempt"] == 0

    def test_running_when_every_pod_runs(self) -> None:
        life = Life()
        life.step()
        half = life.step([pod(0, 0), pod(0, 1, "Pending")])
        assert half.poll == "http://10.0.0.1"
        assert life.status["phase"] == "Pending"
        life.now = after(9)
        whole = life.step(gang())
        assert life.status["phase"] == "Running"
        assert life.status["message"] == "Training on 2 pods"
        assert life.status["replicaStatuses"]["ready"] == 2
        assert life.condition("Running")["status"] == "True"
        assert life.condition("Running")["lastTransitionTime"] == "2026-03-01T12:00:09Z"
        assert whole.events == ()
        assert life.look(gang()) == Plan(poll="http://10.0.0.1")

    def test_a_stuck_pod_is_explained_in_the_scheduler_s_words(self) -> None:
        life = Life()
        life.step()
        words = {"reason": "Unschedulable", "message": "0/2 nodes"}
        stuck = pod(0, 1, "Pending", conditions=[{"type": "PodScheduled", "status": "False", **words}])
        life.step([pod(0, 0), stuck])
        assert life.status["message"] == "Waiting for pod train-0-1: Unschedulable: 0/2 nodes"
        assert life.condition("Running")["reason"] == "Unschedulable"

    def test_a_pod_that_has_ended_well_is_not_waited_for(self) -> None:
        life = Life()
        life.step()
        life.step([pod(0, 0, "Pending"), succeeded(1)])
        assert life.status["message"] == "Waiting for 2 pods to run"

    def test_pods_of_an_earlier_object_of_the_same_name_are_not_its_own(self) -> None:
        assert children(Life().look([pod(4, 0, uid="uid-0")])) == GANG_0

    def test_a_job_that_is_being_deleted_gets_nothing(self) -> None:
        life = running()
        life.raw["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
        assert life.look(gang()) == Plan()
        assert life.look() == Plan()

    def test_an_ipv6_address_is_ready_for_a_url(self) -> None:
        assert running().look([pod(0, 0, podIP="fd00::1"), pod(0, 1)]).poll == "http://[fd00::1]"

    def test_a_refused_child_is_told_and_the_create_is_tried_again(self) -> None:
        life = Life()
        refusal = Refusal(reasons.NAME_CONFLICT, "Service train exists already and belongs to something else")
        life.step(refusal=refusal)
        assert life.status["phase"] == "Pending"
        assert life.status["message"] == refusal.message
        assert life.condition("Running")["reason"] == "NameConflict"
        assert life.look(refusal=refusal).status is None
        assert children(life.look(gang(phase="Pending"))) == GANG_0[:2]
        life.step(gang(phase="Pending"))
        assert life.condition("Running")["reason"] == "WaitingForPods"


class TestEnd:
    def test_node_0_decides_that_training_is_complete(self) -> None:
        life = running()
        life.now = after(60)
        done = life.step([succeeded(), pod(0, 1)], spoken(iteration=900))
        assert done.delete == ()
        assert done.events == (Event(reasons.TRAINING_COMPLETED, "Training completed at iteration 1000"),)
        assert life.status["phase"] == "Succeeded"
        assert life.status["message"] == "Training completed at iteration 1000"
        assert life.status["completionTime"] == "2026-03-01T12:01:00Z"
        assert life.status["progress"] == "100%"
        assert "eta" not in life.status
        assert "failure" not in life.status
        assert life.condition("Complete")["status"] == "True"
        assert life.condition("Complete")["reason"] == "TrainingCompleted"
        assert life.condition("Running")["status"] == "False"

    def test_peers_may_end_by_themselves_before_they_are_deleted(self) -> None:
        life = running()
        pods = [succeeded(), pod(0, 1)]
        assert life.step(pods).requeue_after == 5.0
        life.now = after(2)
        assert life.look(pods) == Plan(requeue_after=3.0)
        life.now = after(5)
        assert life.look(pods).delete == (DeletePod("train-0-1", "uid-1-0-1", None),)
        assert life.look([succeeded(), pod(0, 1, deleting=True)]).delete == ()

    def test_a_finished_job_stays_as_it_is(self) -> None:
        life = running()
        life.step([succeeded(), pod(0, 1)])
        life.step([succeeded(), succeeded(1)])
        assert life.status["replicaStatuses"] == {"active": 0, "ready": 0, "succeeded": 2, "failed": 0}
        settled = life.status
        life.now = after(86400)
        for pods in ([], [succeeded()], [failed(), failed(1)]):
            assert life.step(pods, spoken(0, 5, at=999)) == Plan()
        life.suspend(True)
        life.step()
        assert life.status == settled | {"observedGeneration": 2}

    def test_the_last_words_are_in_the_status_though_nobody_polled(self) -> None:
        life = running()
        evaluation = {"iteration": 1000, "averagePrecision": 0.61, "metrics": []}
        life.step([succeeded(evaluation=evaluation), pod(0, 1)])
        assert life.status["iteration"] == 1000
        assert life.status["evaluation"]["averagePrecision"] == "0.61"

    def test_success_goes_before_a_failed_peer_and_before_suspension(self) -> None:
        life = running()
        life.suspend(True)
        life.step([succeeded(), failed(1)])
        assert life.status["phase"] == "Succeeded"

    def test_a_success_that_comes_in_after_the_attempt_was_given_up(self) -> None:
        life = running()
        life.step([pod(0, 0), failed(1)])
        assert life.status["phase"] == "Restarting"
        life.step([succeeded(), failed(1)])
        assert life.status["phase"] == "Succeeded"


class TestFailure:
    def test_a_verdict_that_forbids_another_attempt_fails_the_job(self) -> None:
        life = running()
        message = "MODEL.NOPE: unknown key\nSOLVER.IMS_PER_BATCH: 3 is not a multiple of 2"
        step = life.step([failed(reason="InvalidConfig", retryable=False, message=message), pod(0, 1)])
        assert life.status["phase"] == "Failed"
        assert life.status["message"] == message
        assert life.condition("Failed")["reason"] == "InvalidConfig"
        assert life.status["failure"] == {
            "reason": "InvalidConfig",
            "message": message,
            "pod": "train-0-0",
            "node": "worker-0",
            "rank": 0,
            "exitCode": 1,
            "iteration": 7,
        }
        assert step.events == (Event(Reason("InvalidConfig"), message, fatal=True),)
        assert step.delete == ()
        after_it = life.step([failed(reason="InvalidConfig", retryable=False), pod(0, 1)])
        assert after_it.delete == (DeletePod("train-0-1", "uid-1-0-1", 10),)

    def test_it_may_fail_before_it_ran(self) -> None:
        life = Life()
        life.step()
        life.step([failed(reason="InvalidConfig", retryable=False), pod(0, 1, "Pending")])
        assert life.status["phase"] == "Failed"

    def test_a_restart_is_written_down_before_it_is_carried_out(self) -> None:
        life = running()
        pods = [failed(reason="ProcessFailed", message="signal 11"), pod(0, 1)]
        decided = life.step(pods)
        sentence = "Restarting as attempt 1: pod train-0-0: ProcessFailed: signal 11"
        assert (decided.create, decided.delete, decided.requeue_after) == ((), (), 0.0)
        assert decided.events == (Event(reasons.PROCESS_FAILED, sentence),)
        assert life.status["phase"] == "Restarting"
        assert (life.status["attempt"], life.status["restarts"]) == (1, 1)
        assert life.condition("Restarting")["reason"] == "ProcessFailed"

        clearing = life.step(pods)
        assert clearing.create == ()
        assert clearing.delete == (DeletePod("train-0-1", "uid-1-0-1", 10),)
        assert life.status["message"].startswith("Waiting for pod train-0-1 on worker-1 to stop")

        waiting = life.step([pods[0], pod(0, 1, deleting=True)])
        assert (waiting.create, waiting.delete) == ((), ())

        assert children(life.step(pods[:1])) == GANG_1
        assert life.status["phase"] == "Restarting"
        assert life.condition("Restarting")["message"] == sentence

        life.step([pods[0], *gang(1)])
        assert life.status["phase"] == "Running"
        assert life.condition("Restarting")["status"] == "False"
        assert life.status["attempt"] == 1

    def test_failed_pods_stay_for_their_logs(self) -> None:
        life = running()
        pods = [failed(), failed(1)]
        assert life.step(pods).delete == ()
        assert life.step(pods).delete == ()
        assert life.step([*pods, *gang(1)]).delete == ()

    def test_a_pod_without_a_verdict_is_retryable(self) -> None:
        life = running()
        life.step([failed(), failed(1)])
        assert life.status["restarts"] == 1
        assert "ended with exit code 1 and left no verdict" in life.condition("Restarting")["message"]

    def test_out_of_memory_in_the_kubelet_s_word(self) -> None:
        life = running()
        killed = pod(0, 1, "Failed", terminated={"exitCode": 137, "reason": "OOMKilled"})
        life.step([failed(), killed])
        assert life.condition("Restarting")["reason"] == "OOMKilled"

    def test_the_budget_of_restarts(self) -> None:
        life = running(runPolicy=suspended(False, backoff_limit=1))
        life.step([failed(), failed(1)])
        life.step([failed(), failed(1)])
        life.step([failed(), failed(1), *gang(1)])
        last = life.step([failed(attempt=1, reason="OutOfMemory", message="CUDA"), pod(1, 1)])
        assert life.status["phase"] == "Failed"
        assert life.condition("Failed")["reason"] == "BackoffLimitExceeded"
        assert life.status["message"] == (
            "Failed 2 times, runPolicy.backoffLimit is 1; at last pod train-1-0: OutOfMemory: CUDA"
        )
        assert life.status["failure"]["reason"] == "OutOfMemory"
        assert life.status["restarts"] == 1
        assert last.events[0].reason == "BackoffLimitExceeded"

    @pytest.mark.parametrize(
        "second",
        [
            pytest.param([pod(0, 0)], id="vanished"),
            pytest.param([pod(0, 0), pod(0, 1, deleting=True)], id="being deleted"),
            pytest.param([failed(), pod(0, 1, "Failed", deleting=True)], id="died of its deletion"),
            pytest.param([failed(reason="Preempted"), failed(1, reason="Preempted")], id="preempted"),
            pytest.param(
                [failed(), failed(1, conditions=[{"type": "DisruptionTarget", "status": "True"}])],
                id="evicted",
            ),
        ],
    )
    def test_a_disruption_is_no_failure_of_the_job(self, second: list[Pod]) -> None:
        life = running(runPolicy=suspended(False, backoff_limit=0), elasticPolicy=GANG_ONLY)
        decided = life.step(second)
        assert life.status["phase"] == "Restarting"
        assert (life.status["attempt"], life.status["restarts"]) == (1, 0)
        assert decided.events[0].type == "Normal"

    def test_survivors_of_a_disruption_have_their_own_grace(self) -> None:
        life = running(elasticPolicy=GANG_ONLY)
        life.step([pod(0, 0)])
        assert life.step([pod(0, 0)]).delete == (DeletePod("train-0-0", "uid-1-0-0", None),)

    def test_an_eviction_for_overuse_counts(self) -> None:
        life = running()
        target = [{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}]
        life.step([pod(0, 0), pod(0, 1, "Failed", reason="Evicted", message="disk", conditions=target)])
        assert life.status["restarts"] == 1
        assert life.condition("Restarting")["reason"] == "Evicted"

    @pytest.mark.parametrize(
        ("pods", "reason"),
        [
            (
                [failed(0, reason="OutOfMemory"), failed(1, reason="NonFiniteLoss", retryable=False)],
                "NonFiniteLoss",
            ),
            ([failed(0, reason="InvalidConfig", retryable=False), pod(0, 1, deleting=True)], "InvalidConfig"),
            ([failed(0, reason="ProcessFailed"), failed(1, reason="OutOfMemory")], "OutOfMemory"),
            ([failed(0, reason="OutOfMemory"), failed(1, reason="CheckpointCorrupt")], "OutOfMemory"),
            ([failed(0), failed(1, reason="OutOfMemory")], "OutOfMemory"),
            ([pod(0, 0), pod(0, 1, deleting=True)], "PodDeleted"),
            ([pod(0, 0), pod(0, 1, deleting=True, conditions=[TAKEN_AWAY])], "PodDisrupted"),
        ],
    )
    def test_the_most_telling_cause(self, pods: list[Pod], reason: str) -> None:
        life = running()
        life.step(pods)
        kind = "Failed" if life.status["phase"] == "Failed" else "Restarting"
        assert life.condition(kind)["reason"] == reason

    def test_out_of_memory_is_more_telling_than_the_exit_of_the_process(self) -> None:
        life = running()
        words = json.dumps(document(verdict=verdict("ProcessFailed", retryable=True, message="signal 9")))
        ended = {"exitCode": 137, "reason": "OOMKilled", "message": words}
        life.step([pod(0, 0, "Failed", terminated=ended), pod(0, 1)])
        assert life.condition("Restarting")["reason"] == "OOMKilled"

    def test_out_of_memory_says_which_process_was_killed(self) -> None:
        life = running(runPolicy=suspended(False, backoff_limit=0))
        killed = verdict("ProcessFailed", retryable=True, message="rank 1 was ended by SIGKILL") | {"rank": 1}
        ended = {"exitCode": 137, "reason": "OOMKilled", "message": json.dumps(document(verdict=killed))}
        life.step([failed(), pod(0, 1, "Failed", terminated=ended)])
        assert life.status["failure"] == {
            "reason": "OOMKilled",
            "message": "rank 1 was ended by SIGKILL",
            "pod": "train-0-1",
            "node": "worker-1",
            "rank": 1,
            "exitCode": 137,
            "signal": "SIGKILL",
        }

    def test_a_pod_that_its_node_rejects_is_tried_again_after_a_pause(self) -> None:
        life = Life(runPolicy=suspended(False, backoff_limit=0))
        life.step()
        pods = [pod(0, 0), pod(0, 1, "Failed", reason="OutOfcpu", message="Node didn't have enough resource")]
        life.step(pods)
        assert (life.status["attempt"], life.status["restarts"]) == (1, 0)
        assert life.condition("Restarting")["reason"] == "PodRejected"
        assert "OutOfcpu: Node didn't have enough resource" in life.condition("Restarting")["message"]
        life.now = after(4)
        assert life.step(pods).delete == (DeletePod("train-0-0", "uid-1-0-0", None),)
        paused = life.step(pods[1:])
        assert (paused.create, paused.requeue_after) == ((), 6.0)
        assert life.look(pods[1:]).status is None
        life.now = after(10)
        assert children(life.step(pods[1:])) == GANG_1

    def test_restarts_in_a_row_wait_and_the_first_does_not(self) -> None:
        life = running()
        life.step([failed(), failed(1)])
        assert children(life.step([failed(), failed(1)])) == GANG_1
        life.now = after(20)
        ended = [failed(attempt=1), failed(1, attempt=1)]
        life.step(ended)
        assert (life.status["restarts"], life.status["restartsInARow"]) == (2, 2)
        waiting = life.step(ended)
        assert waiting.create == ()
        assert waiting.requeue_after is not None
        assert 0 < waiting.requeue_after <= 5
        due = life.status["nextAttemptTime"]
        assert life.status["message"] == f"Attempt 2 waits until {due}: restart 2 in a row"
        assert life.condition("Running")["reason"] == "BackOff"
        life.now = after(20 + waiting.requeue_after)
        assert [name for kind, name in children(life.step(ended)) if kind == "Pod"] == [
            "train-2-0",
            "train-2-1",
        ]
        assert "nextAttemptTime" not in life.status

    def test_deletions_in_a_row_wait_too(self) -> None:
        life = running(elasticPolicy=GANG_ONLY)
        for attempt in range(3):
            life.step([pod(attempt, 0)])
            life.step([])
            life.now = after(1000 * attempt + 100)
            life.step([])
            life.step(gang(attempt + 1))
        assert (life.status["restarts"], life.status["restartsInARow"]) == (0, 3)
        assert life.status["restartsByReason"] == [{"reason": "PodDeleted", "count": 3}]

    def test_a_gang_that_ran_for_long_begins_the_row_anew(self) -> None:
        life = running()
        life.step([failed(), failed(1)])
        life.step([failed(), failed(1)])
        life.step(gang(1))
        life.now = after(600)
        life.step([failed(attempt=1), failed(1, attempt=1)])
        assert (life.status["restarts"], life.status["restartsInARow"]) == (2, 1)
        assert "nextAttemptTime" not in life.status

    def test_suspension_and_the_end_need_not_wait(self) -> None:
        life = running()
        for attempt in range(2):
            life.step([failed(attempt=attempt)])
            life.step([failed(attempt=attempt)])
        assert "nextAttemptTime" in life.status
        life.suspend(True)
        life.step([failed(attempt=1)])
        assert life.status["phase"] == "Suspended"
        assert "nextAttemptTime" not in life.status

    def test_a_rule_of_the_job_goes_before_what_a_verdict_says(self) -> None:
        rules = [{"action": "Restart", "onReasons": ["OutOfMemory"]}]
        life = running(runPolicy=suspended(False, backoff_limit=1) | {"failurePolicy": {"rules": rules}})
        life.step([failed(reason="OutOfMemory", retryable=False), pod(0, 1)])
        assert (life.status["phase"], life.status["restarts"]) == ("Restarting", 1)
        # What comes in late is judged alike.
        life.step(
            [failed(reason="OutOfMemory", retryable=False), failed(1, reason="OutOfMemory", retryable=False)]
        )
        assert life.status["phase"] == "Restarting"

    def test_a_rule_fails_what_would_be_tried_again(self) -> None:
        rules = [{"action": "Fail", "onReasons": ["PodDeleted"]}]
        life = running(runPolicy=suspended(False) | {"failurePolicy": {"rules": rules}})
        life.step([pod(0, 0)])
        assert life.status["phase"] == "Failed"
        assert life.status["failure"]["reason"] == "PodDeleted"

    def test_a_clock_that_is_behind_pauses_nothing(self) -> None:
        life = Life()
        life.step()
        rejected = [pod(0, 0, "Failed", reason="OutOfcpu"), pod(0, 1, "Failed", reason="OutOfcpu")]
        life.step(rejected)
        life.now = after(-3600)
        assert children(life.step(rejected)) == GANG_1

    def test_a_verdict_that_comes_in_late_still_counts(self) -> None:
        life = running()
        life.step([pod(0, 0), failed(1)])
        assert life.status["phase"] == "Restarting"
        life.step([failed(0, reason="NonFiniteLoss", retryable=False), failed(1)])
        assert life.status["phase"] == "Failed"
        assert life.condition("Failed")["reason"] == "NonFiniteLoss"

    def test_a_pod_that_fails_after_training_completed_is_tried_again(self) -> None:
        life = running()
        life.step([failed(0, reason="Completed", retryable=False), failed(1)])
        assert life.status["phase"] == "Restarting"

    def test_a_verdict_of_another_attempt_is_not_believed(self) -> None:
        life = running()
        words = json.dumps(document(5, verdict=verdict("InvalidConfig", retryable=False)))
        life.step([pod(0, 0, "Failed", terminated={"exitCode": 1, "message": words}), pod(0, 1)])
        assert life.status["phase"] == "Restarting"

    @pytest.mark.parametrize("words", ["", "Traceback (most recent call last)", "{}", "[1]"])
    def test_words_that_are_no_document_are_no_verdict(self, words: str) -> None:
        life = running()
        life.step([pod(0, 0, "Failed", terminated={"exitCode": 1, "message": words}), pod(0, 1)])
        assert life.condition("Restarting")["reason"] == "ProcessFailed"

    def test_a_second_failure_before_the_gang_runs_again(self) -> None:
        life = running()
        life.step([failed(), failed(1)])
        life.step([failed(), failed(1)])
        life.now = after(30)
        life.step([failed(attempt=1, reason="OutOfMemory"), pod(1, 1, "Pending")])
        assert (life.status["attempt"], life.status["restarts"]) == (2, 2)
        assert life.condition("Restarting")["reason"] == "OutOfMemory"
        assert life.condition("Restarting")["lastTransitionTime"] == "2026-03-01T12:00:00Z"

    def test_a_status_that_lags_behind_never_starts_an_older_attempt(self) -> None:
        life = running()
        step = life.step([pod(0, 1, deleting=True), *gang(1, "Pending")])
        assert (step.create, step.delete) == ((), ())
        assert life.status["attempt"] == 1

    def test_a_lost_node_is_waited_for_by_name(self) -> None:
        life = running(elasticPolicy=GANG_ONLY)
        life.step([pod(0, 0), pod(0, 1, "Unknown", deleting=True)])
        step = life.step([pod(0, 1, "Unknown", deleting=True)])
        assert step.create == ()
        assert "train-0-1 on worker-1" in life.status["message"]


def replacement(
    nth: int = 1, phase: str = "Running", *, attempt: int = 0, index: int = 1, **fields: Any
) -> Pod:
    """The pod that took the place of the one before it."""
    raw = raw_pod(attempt, index, phase, **fields)
    raw["metadata"]["name"] += f"r{nth}"
    raw["metadata"]["uid"] += f"r{nth}"
    raw["metadata"]["labels"]["detectron.dev/replacement"] = str(nth)
    seen = observe_pod(raw)
    assert seen is not None
    return seen


KILLED = pod(0, 1, "Failed", terminated={"exitCode": 137, "reason": "Error"})
EVICTED = failed(1, conditions=[{"type": "DisruptionTarget", "status": "True"}])


class TestReplacement:
    def test_one_that_takes_too_long_when_the_job_is_suspended_is_no_reason_to_look_at_once(self) -> None:
        life, held = running(), pod(0, 1, deleting=True, conditions=unreachable(0))
        life.step([pod(0, 0), held])
        life.now = after(600)
        life.suspend(True)
        for _ in range(4):
            step = life.step([pod(0, 0), held])
        assert step.requeue_after is None or step.requeue_after > 0

    @pytest.mark.parametrize(
        ("lost", "restarts"),
        [
            pytest.param([], 0, id="vanished"),
            pytest.param([KILLED], 1, id="killed"),
            pytest.param(
                [failed(1, conditions=[{"type": "DisruptionTarget", "status": "True"}])], 0, id="evicted"
            ),
        ],
    )
    def test_only_the_pod_that_is_lost_is_created_anew(self, lost: list[Pod], restarts: int) -> None:
        life = running()
        decided = life.step([pod(0, 0), *lost])
        assert (decided.create, decided.delete, decided.requeue_after) == ((), (), 0.0)
        assert decided.events[0].reason == life.condition("Restarting")["reason"]
        assert decided.events[0].message.startswith("Replacing the pod of node 1: pod train-0-1: ")
        assert (life.status["phase"], life.status["attempt"], life.status["restarts"]) == (
            "Restarting",
            0,
            restarts,
        )
        assert life.status["replacements"] == [{"index": 1, "count": 1}]
        assert sum(item["count"] for item in life.status["restartsByReason"]) == 1

        created = life.step([pod(0, 0), *lost])
        assert children(created)[2:] == [("Pod", "train-0-1r1")]
        assert created.create[2].manifest["metadata"]["labels"]["detectron.dev/replacement"] == "1"  # type: ignore[index]
        assert created.delete == ()
        life.step([pod(0, 0), *lost, replacement(phase="Pending")])
        assert life.status["message"] == "Waiting for 2 pods to run"
        life.step([pod(0, 0), *lost, replacement()])
        assert life.status["phase"] == "Running"
        assert life.look([pod(0, 0), *lost, replacement()]).create == ()

    def test_never_two_pods_at_one_index(self) -> None:
        life = running()
        leaving = pod(0, 1, deleting=True)
        life.step([pod(0, 0), leaving])
        assert children(life.step([pod(0, 0), leaving])) == GANG_0[:2]
        assert children(life.step([pod(0, 0)]))[2:] == [("Pod", "train-0-1r1")]

    def test_a_lost_pod_is_let_go_by_force_before_it_is_replaced(self) -> None:
        life = running()
        silent = [pod(0, 0), pod(0, 1, conditions=unreachable(since=0))]
        life.now = after(15)
        life.step(silent)
        assert life.step(silent).delete == (DeletePod("train-0-1", "uid-1-0-1", 0),)
        assert children(life.step(silent[:1]))[2:] == [("Pod", "train-0-1r1")]

    @pytest.mark.parametrize(
        "pods",
        [
            pytest.param([pod(0, 1)], id="node 0 is gone"),
            pytest.param([failed(), pod(0, 1)], id="node 0 failed"),
            pytest.param([pod(0, 0, deleting=True), KILLED], id="node 0 is stopping"),
            pytest.param([pod(0, 0, conditions=unreachable(since=-60)), KILLED], id="node 0 is lost"),
        ],
    )
    def test_without_node_0_the_whole_gang_starts_anew(self, pods: list[Pod]) -> None:
        life = running()
        life.step(pods)
        assert life.status["attempt"] == 1
        assert "replacements" not in life.status

    def test_a_final_verdict_replaces_nothing(self) -> None:
        life = running()
        life.step([pod(0, 0), failed(1, reason="InvalidConfig", retryable=False)])
        assert life.status["phase"] == "Failed"

    def test_the_budgets_of_the_attempt_and_of_the_job(self) -> None:
        life = running(elasticPolicy={"maxRestarts": 1}, runPolicy=suspended(False, backoff_limit=1))
        life.step([pod(0, 0), KILLED])
        life.step([pod(0, 0), KILLED])
        life.step([pod(0, 0), KILLED, replacement()])
        # Uncounted, but the attempt has no second replacement to give.
        life.now = after(700)
        life.step([pod(0, 0), KILLED])
        assert (life.status["attempt"], life.status["restarts"]) == (1, 1)
        assert "replacements" not in life.status
        life.step([])
        life.step(gang(1))
        life.step([pod(1, 0), pod(1, 1, "Failed", terminated={"exitCode": 137, "reason": "Error"})])
        assert life.condition("Failed")["reason"] == "BackoffLimitExceeded"

    def test_survivors_that_end_of_the_same_cause_are_not_counted_again(self) -> None:
        life = running(runPolicy=suspended(False, backoff_limit=1))
        life.now = after(20)
        life.step([pod(0, 0), KILLED])
        life.now = after(25)
        life.step([failed(0, reason="ProcessFailed"), KILLED])
        assert (life.status["phase"], life.status["attempt"]) == ("Restarting", 1)
        assert life.status["restarts"] == 1

    def test_survivors_do_not_wait_for_ever(self) -> None:
        life = running()
        life.step([pod(0, 0), KILLED])
        pending = replace(replacement(phase="Pending"), reason="Unschedulable", message="0/2 nodes")
        stuck = [pod(0, 0), KILLED, pending]
        assert life.step(stuck).requeue_after == 300
        life.now = after(300)
        life.step(stuck)
        assert (life.status["attempt"], life.status["restarts"]) == (1, 1)
        assert life.condition("Restarting")["reason"] == "ReplacementOverdue"
        assert (
            "Waiting for pod train-0-1r1: Unschedulable: 0/2 nodes" in life.condition("Restarting")["message"]
        )

    def test_a_long_pause_is_not_spent_with_gpus_held(self) -> None:
        life = running(elasticPolicy={"maxRestarts": 9})
        life.raw["status"]["restartsInARow"] = 6
        life.step([pod(0, 0), KILLED])
        assert life.status["attempt"] == 1

    def test_a_replacement_waits_for_its_turn(self) -> None:
        life = running()
        life.raw["status"]["restartsInARow"] = 1
        life.step([pod(0, 0), KILLED])
        waiting = life.step([pod(0, 0), KILLED])
        assert waiting.create == ()
        assert life.condition("Running")["reason"] == "BackOff"
        life.now = after(5)
        assert children(life.step([pod(0, 0), KILLED]))[2:] == [("Pod", "train-0-1r1")]

    def test_a_crash_after_the_create_creates_nothing_else(self) -> None:
        life = running()
        life.step([pod(0, 0), KILLED])
        step = life.step([pod(0, 0), KILLED, replacement(phase="Pending")])
        assert children(step) == GANG_0[:2]


class TestElastic:
    POLICY: ClassVar = {"minNodes": 1, "maxNodes": 3, "maxRestarts": 3}

    def test_it_goes_on_with_fewer_while_a_lost_pod_is_replaced(self) -> None:
        life = running(elasticPolicy=self.POLICY)
        decided = life.step([pod(0, 0), KILLED])
        assert decided.events[0].reason == "ProcessFailed"
        assert (life.status["phase"], life.status["restarts"]) == ("Running", 1)
        created = life.step([pod(0, 0), KILLED])
        assert children(created)[2:] == [("Pod", "train-0-1r1")]
        waiting = [pod(0, 0), KILLED, replacement(phase="Pending")]
        life.now = after(86400)
        step = life.step(waiting)
        assert (step.create, life.status["attempt"]) == ((), 0)
        assert life.status["message"] == "Training on 1 of 2 pods"
        life.step([pod(0, 0), KILLED, replacement()])
        assert life.status["message"] == "Training on 2 pods"

    def test_it_grows_and_shrinks_within_the_attempt(self) -> None:
        life = running(elasticPolicy=self.POLICY)
        life.scale(3)
        assert children(life.step(gang()))[2:] == [("Pod", "train-0-2")]
        assert life.status["phase"] == "Running"
        life.step(gang(size=3))
        assert life.status["message"] == "Training on 3 pods"
        life.scale(1)
        assert life.step(gang(size=3)).delete == (
            DeletePod("train-0-1", "uid-1-0-1", None),
            DeletePod("train-0-2", "uid-1-0-2", None),
        )
        assert life.status["phase"] == "Running"
        assert life.step([pod(0, 0), failed(1), failed(2)]).create == ()
        assert (life.status["attempt"], life.status["restarts"]) == (0, 0)

    def test_node_0_comes_first_and_it_starts_when_enough_pods_run(self) -> None:
        life = Life(elasticPolicy=self.POLICY)
        assert children(life.step()) == GANG_0[:3]
        first = pod(0, 0, "Pending")
        unbound = replace(first, node="", reason="Unschedulable", message="0/2 nodes")
        assert life.step([unbound]).create == ()
        assert life.status["message"] == "Waiting for pod train-0-0: Unschedulable: 0/2 nodes"
        assert children(life.step([first])) == [*GANG_0[:2], GANG_0[3]]
        assert life.status["phase"] == "Pending"
        life.step([pod(0, 0), pod(0, 1, "Pending")])
        assert life.status["message"] == "Training on 1 of 2 pods"

    def test_node_0_comes_first_in_the_next_attempt_too(self) -> None:
        life = running(elasticPolicy=self.POLICY)
        life.step([pod(0, 1)])
        assert children(life.step([])) == GANG_1[:3]
        assert children(life.step([pod(1, 0, "Pending")])) == [*GANG_1[:2], GANG_1[3]]

    def test_a_gang_that_needs_all_of_its_pods_is_created_at_once(self) -> None:
        life = Life(elasticPolicy=self.POLICY | {"minNodes": 2})
        assert children(life.step()) == GANG_0

    def test_node_0_that_vanishes_before_the_start_takes_the_others_with_it(self) -> None:
        """They hold what node 0 needs; a gang that needs all of its pods simply gets it again."""
        life = Life(elasticPolicy=self.POLICY)
        life.step()
        life.step([pod(0, 0, "Pending")])
        life.step([pod(0, 1)])
        assert (life.status["phase"], life.status["attempt"]) == ("Restarting", 1)
        assert life.status["restartsByReason"] == [{"reason": "PodDeleted", "count": 1}]

    def test_neither_the_budget_of_replacements_nor_a_long_pause_ends_those_that_train(self) -> None:
        life = running(elasticPolicy=self.POLICY | {"maxRestarts": 0})
        survivor, lost = pod(0, 0), EVICTED
        for nth in range(1, 9):
            life.step([survivor, lost])
            assert (life.status["phase"], life.status["attempt"]) == ("Running", 0)
            assert life.status["replacements"] == [{"index": 1, "count": nth}]
            step = life.step([survivor, lost])
            if step.requeue_after is not None:
                assert step.create == ()
                life.now += timedelta(seconds=step.requeue_after)
                step = life.step([survivor, lost])
            assert children(step)[2:] == [("Pod", f"train-0-1r{nth}")]
            created = (life.now - START).total_seconds()
            waiting = replacement(nth, "Pending", created=created)
            life.step([survivor, waiting])
            assert life.status["message"] == "Training on 1 of 2 pods"
            lost = replace(waiting, phase="Failed", disruption="EvictionByEvictionAPI")
        assert life.now - START > timedelta(minutes=5)
        assert life.status["restarts"] == 0

    def test_the_pause_is_of_the_missing_pod_alone(self) -> None:
        life = running(elasticPolicy=self.POLICY)
        life.raw["status"]["restartsInARow"] = 9
        life.step([pod(0, 0), KILLED])
        waiting = life.step([pod(0, 0), KILLED])
        assert (waiting.create, life.status["phase"]) == ((), "Running")
        assert 240 <= (waiting.requeue_after or 0) <= 300
        assert life.condition("Running")["reason"] == "BackOff"
        assert life.status["message"].startswith("Training on 1 of 2 pods, a replacement waits until ")

    def test_its_losses_are_in_a_row_though_it_runs_on(self) -> None:
        life = running(elasticPolicy=self.POLICY)
        life.now = after(3600)
        life.step([pod(0, 0), EVICTED])
        life.now = after(3700)
        life.step([pod(0, 0), replace(EVICTED, replacement=1)])
        assert life.status["restartsInARow"] == 2
        life.now = after(3700 + 600)
        life.step([pod(0, 0), replace(EVICTED, replacement=2)])
        assert life.status["restartsInARow"] == 1

    def test_a_process_that_fails_again_and_again_spends_the_limit(self) -> None:
        life = running(elasticPolicy=self.POLICY, runPolicy=suspended(False, backoff_limit=2))
        life.now = after(20)
        life.step([pod(0, 0), KILLED])
        for nth in (1, 2):
            ended = {"exitCode": 137, "reason": "Error"}
            life.now = after(20 + 60 * nth)
            life.step([pod(0, 0), replacement(nth, "Failed", created=60 * nth - 30, terminated=ended)])
        assert life.condition("Failed")["reason"] == "BackoffLimitExceeded"

    def test_survivors_that_end_of_a_loss_are_not_counted_again(self) -> None:
        """torchrun's budget of restarts is that of all pods: it is spent everywhere at once, or nearly so."""
        life = running(elasticPolicy=self.POLICY, runPolicy=suspended(False, backoff_limit=1))
        life.now = after(20)
        life.step([pod(0, 0), KILLED])
        assert (life.status["phase"], life.status["restarts"]) == ("Running", 1)
        life.now = after(25)
        life.step([failed(0, reason="ProcessFailed"), KILLED])
        assert (life.status["attempt"], life.status["restarts"]) == (1, 1)

    def test_what_fails_long_after_a_loss_counts(self) -> None:
        life = running(elasticPolicy=self.POLICY)
        life.step([pod(0, 0), EVICTED])
        life.now = after(400)
        life.step([failed(0, reason="ProcessFailed"), replacement()])
        assert (life.status["attempt"], life.status["restarts"]) == (1, 1)

    def test_with_too_few_survivors_it_is_as_any_other_gang(self) -> None:
        policy = {"minNodes": 2, "maxNodes": 3, "maxRestarts": 0}
        life = Life(elasticPolicy=policy, numNodes=3)
        life.step()
        life.step([pod(0, 0)])
        life.step(gang(size=3))
        life.step([pod(0, 0), KILLED, pod(0, 2)])
        assert (life.status["phase"], life.status["attempt"]) == ("Running", 0)
        life.step([pod(0, 0), KILLED, pod(0, 2)])
        life.step([pod(0, 0), KILLED, replacement(phase="Pending"), failed(2)])
        assert (life.status["phase"], life.status["attempt"]) == ("Restarting", 1)

    def test_a_pod_that_vanishes_is_told_of_as_any_other_loss(self) -> None:
        life = running(elasticPolicy=self.POLICY)
        decided = life.step([pod(0, 0)])
        assert [event.reason for event in decided.events] == ["PodDeleted"]
        assert life.status["restartsByReason"] == [{"reason": "PodDeleted", "count": 1}]
        assert life.status["replacements"] == [{"index": 1, "count": 1}]
        assert children(life.step([pod(0, 0)]))[2:] == [("Pod", "train-0-1r1")]
        life.step([pod(0, 0), replacement(phase="Pending")])
        life.step([pod(0, 0)])
        assert life.status["replacements"] == [{"index": 1, "count": 2}]

    def test_a_replacement_that_waits_for_the_one_before_it_has_not_vanished(self) -> None:
        life = running(elasticPolicy=self.POLICY)
        leaving = pod(0, 1, deleting=True)
        life.step([pod(0, 0), leaving])
        assert life.step([pod(0, 0), leaving]).events == ()
        assert life.condition("Running")["reason"] == "GangShrunk"
        created = life.step([pod(0, 0)])
        assert (created.events, children(created)[2:]) == ((), [("Pod", "train-0-1r1")])
        assert life.condition("Running")["reason"] == "GangRunning"
        assert life.status["replacements"] == [{"index": 1, "count": 1}]

    def test_pods_that_it_grows_by_are_not_told_of(self) -> None:
        life = running(elasticPolicy=self.POLICY)
        life.scale(3)
        refusal = Refusal(reasons.CREATE_REFUSED, "exceeded quota")
        life.step(gang(), refusal=refusal)
        for _ in range(2):
            step = life.step(gang())
            assert children(step)[2:] == [("Pod", "train-0-2")]
            assert [event.reason for event in step.events] == ["Created"]
            life.raw["status"]["conditions"] = [
                condition | {"reason": "CreateRefused"} for condition in life.status["conditions"]
            ]
        lost = life.step([pod(0, 0), KILLED])
        assert lost.events[0].message.startswith("Replacing the pod of node 1: ")

    def test_a_child_that_is_refused_does_not_stop_those_that_train(self) -> None:
        life = running(elasticPolicy=self.POLICY)
        life.step([pod(0, 0), KILLED])
        refusal = Refusal(reasons.CREATE_REFUSED, "exceeded quota")
        life.step([pod(0, 0), KILLED], refusal=refusal)
        assert (life.status["phase"], life.status["message"]) == ("Running", "exceeded quota")
        assert children(life.step([pod(0, 0), KILLED]))[2:] == [("Pod", "train-0-1r1")]

    def test_without_node_0_the_whole_gang_starts_anew(self) -> None:
        life = running(elasticPolicy=self.POLICY)
        life.step([pod(0, 1)])
        assert (life.status["phase"], life.status["attempt"]) == ("Restarting", 1)


class TestLostNodes:
    def test_a_node_may_come_back_before_its_pod_counts_as_lost(self) -> None:
        life = running()
        silent = [pod(0, 0), pod(0, 1, conditions=unreachable(since=0))]
        life.now = after(5)
        assert life.step(silent).requeue_after == 10
        assert life.status["phase"] == "Running"
        assert life.step(gang()).requeue_after is None

    def test_a_lost_pod_restarts_the_gang_uncounted_and_is_let_go_by_force(self) -> None:
        life = running(runPolicy=suspended(False, backoff_limit=0), elasticPolicy=GANG_ONLY)
        silent = [pod(0, 0), pod(0, 1, conditions=unreachable(since=0))]
        life.now = after(15)
        decided = life.step(silent)
        assert life.condition("Restarting")["reason"] == "NodeLost"
        assert life.condition("Restarting")["message"] == (
            "Restarting as attempt 1: pod train-0-1: NodeLost: "
            "the cluster hears nothing of worker-1 since 12:00:00 UTC"
        )
        assert (decided.events[0].type, life.status["restarts"]) == ("Warning", 0)
        assert life.step(silent).delete == (
            DeletePod("train-0-0", "uid-1-0-0", None),
            DeletePod("train-0-1", "uid-1-0-1", 0),
        )
        assert children(life.step([])) == GANG_1

    def test_who_has_lost_node_0_can_save_nothing_and_gets_little_time(self) -> None:
        life = running()
        silent = [pod(0, 0, conditions=unreachable(since=0)), pod(0, 1)]
        life.now = after(15)
        life.step(silent)
        assert life.step(silent).delete == (
            DeletePod("train-0-0", "uid-1-0-0", 0),
            DeletePod("train-0-1", "uid-1-0-1", 10),
        )

    def test_a_pod_that_its_kubelet_does_not_stop_is_let_go_by_force_once(self) -> None:
        life = running(elasticPolicy=GANG_ONLY)
        leaving = pod(0, 1, deleting=True)
        life.step([pod(0, 0), leaving])
        life.now = after(300)
        waiting = life.step([leaving])
        assert (waiting.delete, waiting.requeue_after) == ((), 30)
        life.now = after(330)
        assert life.step([leaving]).delete == (DeletePod("train-0-1", "uid-1-0-1", 0),)
        held = replace(leaving, grace_seconds=0)
        assert life.step([held]).delete == ()

    @pytest.mark.parametrize("ending", ["suspended", "failed", "succeeded"])
    def test_whatever_stops_the_gang_does_not_wait_for_a_lost_node(self, ending: str) -> None:
        life = running()
        lost = pod(0, 1, conditions=unreachable(since=0))
        first = {"suspended": pod(0, 0), "succeeded": succeeded()}.get(ending) or failed(
            reason="InvalidConfig", retryable=False
        )
        life.suspend(ending == "suspended")
        life.step([first, lost])
        life.now = after(20)
        assert DeletePod("train-0-1", "uid-1-0-1", 0) in life.step([first, lost]).delete


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


class TestProgress:
    def test_numbers_are_shown_at_once_and_then_once_a_period(self) -> None:
        life = running()
        assert life.step(gang(), spoken(iteration=10, at=0)).status is not None
        assert life.status["iteration"] == 10
        assert life.status["eta"] == "1h5m"
        life.now = after(2)
        waiting = life.look(gang(), spoken(iteration=20, at=2))
        assert (waiting.status, waiting.requeue_after) == (None, 3.0)
        life.now = after(5)
        life.step(gang(), spoken(iteration=20, at=2))
        assert life.status["iteration"] == 20

    def test_the_trainer_s_own_clock_counts_too(self) -> None:
        life = running()
        life.step(gang(), spoken(iteration=10, at=-600))
        assert life.look(gang(), spoken(iteration=20, at=-596)).status is not None
        life.step(gang(), spoken(iteration=11, at=600))
        assert life.look(gang(), spoken(iteration=20, at=603)).requeue_after == 2.0
        assert life.look(gang(), spoken(iteration=20, at=605)).status is not None

    def test_a_time_far_in_the_future_does_not_silence_a_job(self) -> None:
        life = running()
        life.step(gang(), spoken(iteration=10, at=10**9))
        life.step(gang(), spoken(iteration=20, at=0))
        assert life.status["iteration"] == 20

    def test_a_phase_change_takes_the_numbers_along_at_once(self) -> None:
        life = running()
        life.step(gang(), spoken(iteration=10, at=0))
        life.step([pod(0, 0), failed(1)], spoken(iteration=20, at=1))
        assert (life.status["phase"], life.status["iteration"]) == ("Restarting", 20)
        assert "eta" not in life.status

    def test_the_same_numbers_at_another_time_are_no_news(self) -> None:
        life = running()
        life.step(gang(), spoken(iteration=10, at=0))
        life.now = after(100)
        assert life.look(gang(), spoken(iteration=10, at=90)) == Plan(poll="http://10.0.0.1")

    def test_a_document_of_another_attempt_is_ignored(self) -> None:
        life = running()
        life.step(gang(), spoken(iteration=10))
        life.now = after(100)
        assert life.look(gang(), spoken(1, 20, at=50)) == Plan(poll="http://10.0.0.1")

    def test_the_newest_of_two_documents(self) -> None:
        life = running()
        words = {"exitCode": 1, "message": json.dumps(document(0, 30, at=30))}
        life.step([pod(0, 0, "Failed", terminated=words), pod(0, 1)], spoken(iteration=10, at=20))
        assert life.status["iteration"] == 30


def test_long_words_are_cut_to_the_schema_s_bounds() -> None:
    life = running()
    life.step([failed(reason="InvalidConfig", retryable=False, message="é" * 2000), pod(0, 1)])
    assert len(life.status["message"]) == 1024
    assert life.status["message"].endswith("…")
    assert len(life.condition("Failed")["message"]) == 1024
    assert life.status["failure"]["message"] == "é" * 2000


@pytest.mark.parametrize("now", [START, after(1), after(10**8)])
def test_the_same_input_gives_the_same_plan(now: datetime) -> None:
    life = running()
    life.now = now
    pods = [failed(), pod(0, 1)]
    assert life.look(pods, spoken()) == life.look(reversed(pods), spoken())
