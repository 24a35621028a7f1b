"""Gangs that train on with fewer pods."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

from detectron_operator import reasons
from detectron_operator.plan import DeletePod, Refusal
from tests.unit.operator_objects import START, after, failed, gang, pod, suspended
from tests.unit.planned_life import EVICTED, GANG_0, GANG_1, KILLED, Life, children, replacement, running


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
