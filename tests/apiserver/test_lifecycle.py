"""A job's life on a real API server, as its user sees it: children, status, events, and the writes it takes.

Pods are run by a fake kubelet: no container is started.
"""

import copy
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.apiserver.conftest import StartOperator
from tests.apiserver.fake_trainer import DONE, FakeTrainer, progress
from tests.apiserver.manifest_cases import GOOD
from tests.apiserver.operator_process import Operator
from tests.apiserver.space import Space

VERDICT = {"reason": "NonFiniteLoss", "message": "loss_cls is nan at iteration 7", "retryable": False}
GANG = ("job-0-0", "job-0-1")


def run_gang(space: Space, attempt: int = 0) -> None:
    """Have the fake kubelet run both pods of an attempt, and wait until the job says so."""
    pods = (f"job-{attempt}-0", f"job-{attempt}-1")
    space.await_pods(*pods, *(pod for pod in space.pods() if pod not in pods))
    for pod in pods:
        space.kubelet.run(pod)
    space.await_status(phase="Running", attempt=attempt)


def run_elastic_gang(space: Space) -> None:
    """Have the fake kubelet run a job of two pods, of which one is enough."""
    space.submit_with({"elasticPolicy": {"minNodes": 1, "maxNodes": 3}})
    space.await_pods("job-0-0")
    space.kubelet.run("job-0-0")
    space.await_pods(*GANG)
    space.await_status(phase="Running", message="Training on 1 of 2 pods")
    space.kubelet.run("job-0-1")
    space.await_status(message="Training on 2 pods")


@pytest.mark.usefixtures("operator")
class TestFirstReconcile:
    def test_creates_the_gang_and_says_so(self, space: Space) -> None:
        job = space.submit()
        status = space.await_status(phase="Pending")
        assert space.pods() == list(GANG)
        assert [item["metadata"]["name"] for item in space.api.list("services")] == ["job"]
        assert space.api.get("configmaps", "job")["immutable"] is True
        assert status["observedGeneration"] == 1
        assert status["message"]
        assert status["conditions"]
        space.wait(lambda: space.events() == ["Created"], "one event")
        children = [
            *space.api.list("pods"),
            *space.api.list("services"),
            space.api.get("configmaps", "job"),
        ]
        for child in children:
            (owner,) = child["metadata"]["ownerReferences"]
            assert owner["uid"] == job["metadata"]["uid"]
            assert owner["controller"] is True

    def test_costs_its_pods_and_three_creates_and_a_status(self, space: Space) -> None:
        space.submit(nodes=4)
        space.await_status(phase="Pending")
        space.wait(lambda: space.events() == ["Created"], "one event")
        assert Counter(map(str, space.audit.writes())) == {
            "create pods": 4,
            "create services": 1,
            "create configmaps": 1,
            "create events": 1,
            "patch detectrontrainingjobs/status": 1,
        }
        assert all(write.code < 300 for write in space.audit.writes())

    def test_many_at_once_cost_no_more_and_each_is_told_of(self, space: Space) -> None:
        jobs = [f"job-{number}" for number in range(20)]
        with ThreadPoolExecutor(8) as users:
            list(users.map(space.submit, jobs))
        for job in jobs:
            space.await_status(job, phase="Pending")
        space.wait(lambda: space.events() == ["Created"] * len(jobs), "an event of each")
        assert Counter(map(str, space.audit.writes())) == {
            "create pods": 2 * len(jobs),
            "create services": len(jobs),
            "create configmaps": len(jobs),
            "create events": len(jobs),
            "patch detectrontrainingjobs/status": len(jobs),
        }

    def test_the_manifest_in_the_pods_is_the_job(self, space: Space) -> None:
        space.submit()
        space.await_status(phase="Pending")
        (content,) = space.api.get("configmaps", "job")["data"].values()
        assert {**json.loads(content)["spec"], "runPolicy": space.job()["spec"]["runPolicy"]} == (
            space.job()["spec"]
        )

    def test_a_suspended_job_gets_no_children(self, space: Space) -> None:
        space.submit(suspend=True)
        space.await_status(phase="Suspended")
        assert space.pods() == []
        assert space.api.list("services") == []
        space.suspend(False)
        run_gang(space)

    def test_what_cannot_be_honoured_fails_and_others_go_on(self, space: Space) -> None:
        manifest = copy.deepcopy(GOOD)
        manifest["metadata"] = {"name": "bad", "namespace": space.api.namespace}
        manifest["spec"] |= {"numProcPerNode": 2, "resourcesPerNode": {"limits": {"nvidia.com/gpu": 4}}}
        space.api.create("detectrontrainingjobs", manifest)
        space.submit("good")
        status = space.await_status("bad", phase="Failed")
        (failed,) = [item for item in status["conditions"] if item["type"] == "Failed"]
        assert failed["reason"] == "InvalidSpec"
        assert "spec.numProcPerNode" in status["message"]
        space.await_status("good", phase="Pending")
        assert space.pods() == ["good-0-0", "good-0-1"]

    def test_a_service_of_somebody_else_is_named_and_does_not_stop_others(self, space: Space) -> None:
        port = {"port": 80}
        space.api.create("services", {"metadata": {"name": "job"}, "spec": {"ports": [port]}})
        space.submit()
        space.submit("other")
        space.await_status("other", phase="Pending")
        status = space.wait(
            lambda: space.status() if "Service job" in space.status().get("message", "") else None,
            "the status to name the Service",
        )
        assert "belongs to something else" in status["message"]
        (running,) = [item for item in status["conditions"] if item["type"] == "Running"]
        assert running["reason"] == "NameConflict"
        assert not [name for name in space.pods() if name.startswith("job")]
        space.api.delete("services", "job")
        space.await_pods(*GANG, "other-0-0", "other-0-1")

    def test_a_pod_of_the_same_name_that_is_still_stopping_is_told_and_waited_for(self, space: Space) -> None:
        container = {"name": "trainer", "image": "registry.example/trainer:1"}
        space.api.create("pods", {"metadata": {"name": "job-0-0"}, "spec": {"containers": [container]}})
        space.kubelet.run("job-0-0")
        space.api.delete("pods", "job-0-0")
        space.submit()
        told = "Pod job-0-0 exists already and is still being deleted"
        space.wait(lambda: space.status().get("message") == told, "the status to name the pod")
        space.kubelet.finish_deletions()
        space.await_pods(*GANG)
        space.wait(lambda: "NameConflict" not in str(space.status()), "the conflict to be over")

    def test_a_quota_is_said_in_the_api_servers_words(self, space: Space) -> None:
        quota = {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "1"}}}
        space.api.create("resourcequotas", quota)
        space.wait(lambda: space.api.get("resourcequotas", "few").get("status"), "the quota to be in force")
        space.submit()
        status = space.wait(
            lambda: space.status() if "quota" in space.status().get("message", "") else None,
            "the status to name the quota",
        )
        assert "exceeded quota: few" in status["message"]
        assert status["phase"] == "Pending"
        space.wait(lambda: space.events() == ["CreateRefused"], "one warning")
        space.api.merge("resourcequotas", "few", {"spec": {"hard": {"pods": "9"}}})
        space.await_pods(*GANG)
        space.wait(lambda: space.events() == ["CreateRefused", "Created"], "the end of it")


@pytest.mark.usefixtures("operator")
class TestRunning:
    def test_the_last_words_of_rank_0_are_the_final_status(self, space: Space) -> None:
        space.submit()
        run_gang(space)
        space.kubelet.end("job-0-1", 0)
        space.kubelet.end("job-0-0", 0, progress(100, phase="Finished", verdict=DONE))
        status = space.await_status(phase="Succeeded")
        assert status["iteration"] == 100
        assert {"name": "total_loss", "value": "1.25"} in status["metrics"]
        assert status["completionTime"]
        assert space.pods() == list(GANG)

    def test_the_last_words_of_a_pod_that_is_gone_at_once_are_not_lost(self, space: Space) -> None:
        space.submit(nodes=1)
        space.run("job-0-0")
        stop = {"reason": "Preempted", "message": "stopped after iteration 57", "retryable": True}
        space.kubelet.end("job-0-0", 143, progress(57, phase="Finished", verdict=stop))
        space.api.delete("pods", "job-0-0", gracePeriodSeconds=0)
        assert space.await_status(attempt=1)["iteration"] == 57

    def test_a_verdict_that_forbids_another_try_fails_the_job(self, space: Space) -> None:
        space.submit()
        run_gang(space)
        space.kubelet.end("job-0-0", 1, progress(7, verdict=VERDICT))
        status = space.await_status(phase="Failed")
        assert status["failure"]["reason"] == "NonFiniteLoss"
        assert status["failure"]["pod"] == "job-0-0"
        assert "loss_cls is nan" in status["failure"]["message"]
        space.wait(lambda: space.kubelet.finish_deletions() == ["job-0-1"], "the other pod to be stopped")
        space.await_pods("job-0-0")

    def test_a_failure_starts_the_whole_gang_anew(self, space: Space) -> None:
        space.submit(backoffLimit=1)
        run_gang(space)
        space.kubelet.end("job-0-0", 1)
        space.await_status(phase="Restarting", attempt=1, restarts=1)
        space.wait(lambda: space.kubelet.finish_deletions() == ["job-0-1"], "the survivor to be stopped")
        run_gang(space, attempt=1)
        space.kubelet.end("job-1-0", 1)
        status = space.await_status(phase="Failed", restarts=1)
        assert "backoffLimit" in status["message"]

    def test_restarts_in_a_row_wait_and_a_rule_ends_them(self, space: Space) -> None:
        space.submit(failurePolicy={"rules": [{"action": "Fail", "onSignals": ["SIGSEGV"]}]})
        for attempt in range(2):
            run_gang(space, attempt=attempt)
            for index in range(2):
                space.kubelet.end(f"job-{attempt}-{index}", 1)
        waiting = space.await_status(restarts=2)
        assert waiting["restartsByReason"] == [{"reason": "ProcessFailed", "count": 2}]
        assert waiting["nextAttemptTime"] > waiting["startTime"]
        run_gang(space, attempt=2)
        assert "nextAttemptTime" not in space.status()
        space.kubelet.end("job-2-1", 139)
        failure = space.await_status(phase="Failed", restarts=2)["failure"]
        assert (failure["pod"], failure["exitCode"], failure["signal"]) == ("job-2-1", 139, "SIGSEGV")

    def test_a_pod_that_somebody_deletes_is_no_failure_of_the_job(self, space: Space) -> None:
        space.submit(backoffLimit=0)
        run_gang(space)
        space.api.delete("pods", "job-0-0", gracePeriodSeconds=0)
        status = space.await_status(attempt=1)
        assert status["restarts"] == 0
        space.wait(lambda: space.kubelet.finish_deletions() == ["job-0-1"], "the survivor to be stopped")
        run_gang(space, attempt=1)

    def test_a_pod_beside_the_first_is_replaced_while_the_first_lives_on(self, space: Space) -> None:
        space.submit(backoffLimit=0)
        run_gang(space)
        first = space.api.get("pods", "job-0-0")["metadata"]["uid"]
        for nth, lost in enumerate(["job-0-1", "job-0-1r1"], 1):
            space.api.delete("pods", lost, gracePeriodSeconds=0)
            space.await_pods("job-0-0", f"job-0-1r{nth}")
            space.kubelet.run(f"job-0-1r{nth}")
            status = space.await_status(phase="Running", attempt=0, restarts=0)
            assert status["replacements"] == [{"index": 1, "count": nth}]
        assert space.api.get("pods", "job-0-0")["metadata"]["uid"] == first
        hostname = space.api.get("pods", "job-0-1r2")["spec"]["hostname"]
        assert hostname == "node-001"

    def test_an_elastic_gang_shrinks_and_grows(self, space: Space) -> None:
        run_elastic_gang(space)
        space.kubectl("scale", "dtj", "job", "--replicas=3")
        space.await_pods("job-0-0", "job-0-1", "job-0-2")
        assert space.await_status(phase="Running", message="Training on 2 of 3 pods")["attempt"] == 0
        space.kubelet.run("job-0-2")
        space.await_status(message="Training on 3 pods")
        space.kubectl("scale", "dtj", "job", "--replicas=1")
        space.await_stopping(2)
        space.kubelet.finish_deletions()
        status = space.await_status(phase="Running", message="Training on 1 pod")
        assert (status["attempt"], status["restarts"]) == (0, 0)
        assert "restartsByReason" not in status

    def test_a_pod_that_an_elastic_gang_loses_is_told_of_while_the_others_train(self, space: Space) -> None:
        run_elastic_gang(space)
        for nth, lost in enumerate(["job-0-1", "job-0-1r1"], 1):
            space.api.delete("pods", lost, gracePeriodSeconds=0)
            space.await_pods("job-0-0", f"job-0-1r{nth}")
            counted = [{"reason": "PodDeleted", "count": nth}]
            status = space.await_status(phase="Running", attempt=0, restartsByReason=counted)
            assert status["message"] == "Training on 1 of 2 pods"
        space.wait(lambda: space.events() == ["Created", "PodDeleted", "PodDeleted"], "the events")

    def test_suspend_stops_the_pods_and_resume_starts_the_next_attempt(self, space: Space) -> None:
        space.submit()
        run_gang(space)
        space.suspend(True)
        grace = {pod["metadata"]["deletionGracePeriodSeconds"] for pod in space.await_stopping(2)}
        assert grace == {120}
        assert space.kubelet.finish_deletions() == list(GANG)
        space.await_status(phase="Suspended")
        assert space.pods() == []
        space.suspend(False)
        run_gang(space, attempt=1)
        assert space.status()["restarts"] == 0

    def test_deleting_the_job_leaves_nothing_behind(self, space: Space) -> None:
        space.submit()
        run_gang(space)
        space.api.delete("detectrontrainingjobs", "job")
        space.await_collection()
        space.submit()
        run_gang(space)


class TestProgress:
    """Rank 0's progress document, polled while the gang runs."""

    def test_it_shows_in_the_status(self, space: Space, start_operator: StartOperator) -> None:
        with FakeTrainer() as trainer:
            start_operator(progress_port=trainer.port)
            trainer.document = progress(45)
            space.submit()
            space.await_pods(*GANG)
            for pod in GANG:
                space.kubelet.run(pod, ip="127.0.0.1")
            status = space.await_status(phase="Running", iteration=45, progress="45%")
            assert status["estimatedRemainingSeconds"] == 55
            assert {"name": "lr", "value": "0.01"} in status["metrics"]
            trainer.document = progress(46)
            space.await_status(iteration=46)

    def test_nonsense_changes_nothing(self, space: Space, start_operator: StartOperator) -> None:
        with FakeTrainer() as trainer:
            operator = start_operator(progress_port=trainer.port)
            trainer.document = b'{"version": 1, "iteration": "many"}'
            space.submit()
            space.await_pods(*GANG)
            for pod in GANG:
                space.kubelet.run(pod, ip="127.0.0.1")
            before = space.await_status(phase="Running")
            for document in (b"\xff\xfe", b"[" * 60_000, b"x" * 200_000):
                trainer.document = document
                trainer.await_look()
            assert space.status() == before
            assert 'progress_polls_total{result="malformed"}' in operator.metrics()

    def test_updates_are_no_more_frequent_than_set(self, space: Space, start_operator: StartOperator) -> None:
        with FakeTrainer() as trainer:
            start_operator(progress_port=trainer.port, poll_period=0.05, progress_period=2)
            space.submit()
            space.await_pods(*GANG)
            for pod in GANG:
                space.kubelet.run(pod, ip="127.0.0.1")
            space.await_status(phase="Running")
            before = len(space.audit.writes())
            began = time.monotonic()
            for iteration in range(1, 61):
                trainer.document = progress(iteration)
                trainer.await_look()
            space.await_status(iteration=60)
            # A status tells times by the second, so the first period may be that much shorter.
            periods = (time.monotonic() - began + 1) / 2
            assert len(space.audit.writes()) - before <= periods + 1


class TestSteadyState:
    def test_resyncs_of_settled_jobs_write_nothing(self, space: Space, start_operator: StartOperator) -> None:
        operator = start_operator(resync_period=0.5)
        for name in ("running", "ended", "paused"):
            space.submit(name, nodes=1, suspend=name == "paused")
        space.await_status("paused", phase="Suspended")
        space.await_pods("running-0-0", "ended-0-0")
        for pod in space.pods():
            space.kubelet.run(pod)
        space.await_status("running", phase="Running")
        space.kubelet.end("ended-0-0", 0, progress(100, verdict=DONE))
        space.await_status("ended", phase="Succeeded")
        told = Counter({"Created": 2, "SuspendRequested": 1, "TrainingCompleted": 1})
        space.wait(lambda: Counter(space.events()) == told, "the last event")
        before = space.audit.writes()
        resynced = resyncs(operator)
        space.wait(lambda: resyncs(operator) >= resynced + 3, "three resyncs")
        assert space.audit.writes() == before

    @pytest.mark.usefixtures("operator")
    def test_applying_an_unchanged_job_writes_nothing(self, space: Space) -> None:
        manifest = copy.deepcopy(GOOD)
        manifest["metadata"] = {"name": "job", "namespace": space.api.namespace}
        space.kubectl.apply(manifest)
        space.await_status(phase="Pending")
        space.wait(lambda: space.events() == ["Created"], "one event")
        before, version = space.audit.writes(), space.job()["metadata"]["resourceVersion"]
        space.kubectl.apply(manifest)
        assert space.job()["metadata"]["resourceVersion"] == version
        # A job submitted now is served after whatever the apply may have caused.
        space.submit("marker", nodes=1)
        space.await_status("marker", phase="Pending")
        others = [write for write in space.audit.writes() if not write.name.startswith("marker")]
        assert others[: len(before)] == before
        assert space.job()["metadata"]["resourceVersion"] == version

    @pytest.mark.usefixtures("operator")
    def test_of_the_job_only_the_status_is_written(self, space: Space) -> None:
        space.submit()
        run_gang(space)
        space.kubelet.end("job-0-0", 0, progress(100, verdict=DONE))
        space.await_status(phase="Succeeded")
        own = {str(write) for write in space.audit.writes() if "detectrontrainingjobs" in write.resource}
        assert own == {"patch detectrontrainingjobs/status"}
        meta = space.job()["metadata"]
        assert "finalizers" not in meta
        assert "annotations" not in meta


def resyncs(operator: Operator) -> int:
    """How many complete lists of jobs the operator has made."""
    line = 'api_requests_total{code="200",resource="detectrontrainingjobs",verb="list"}'
    (count,) = [row.split()[-1] for row in operator.metrics().splitlines() if line in row]
    return int(float(count))
