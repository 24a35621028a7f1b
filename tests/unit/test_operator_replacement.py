"""One pod is replaced while the others train on, also where a node is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detectron_operator.observed import Pod
from detectron_operator.plan import DeletePod
from tests.unit.operator_objects import after, failed, gang, pod, succeeded, suspended, unreachable
from tests.unit.planned_life import GANG_0, GANG_1, GANG_ONLY, KILLED, children, replacement, running


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
