"""How a gang comes to be, and how its training ends."""

from __future__ import annotations

from detectron_operator import reasons
from detectron_operator.plan import DeletePod, Event, Plan, Refusal
from tests.unit.operator_objects import after, failed, gang, pod, succeeded
from tests.unit.planned_life import GANG_0, Life, children, running, spoken


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
