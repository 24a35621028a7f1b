"""What becomes of a gang one of whose pods failed or was taken away."""

from __future__ import annotations

import json

import pytest

from detectron_operator import reasons
from detectron_operator.observed import Pod
from detectron_operator.plan import DeletePod, Event
from detectron_operator.reasons import Reason
from tests.unit.operator_objects import after, document, failed, gang, pod, suspended, verdict
from tests.unit.planned_life import GANG_1, GANG_ONLY, TAKEN_AWAY, Life, children, running


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
