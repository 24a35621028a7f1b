"""Deadlines and clean-up on a real API server, with the rights that the chart gives and no others."""

import pytest

from tests.apiserver.conftest import StartOperator
from tests.apiserver.fake_trainer import DONE, FakeTrainer, progress
from tests.apiserver.space import Space


def work(**fields: object) -> dict[str, object]:
    """What a process that trains at one iteration a second tells of itself."""
    return {
        "startTime": "2026-03-01T12:00:00Z",
        "trainedIterations": 45,
        "idleSeconds": 0.1,
        "startingSeconds": 3,
        "trainingSeconds": 45,
        "evaluatingSeconds": 0,
        "checkpointingSeconds": 0,
        "iterationSecondsP99": 1,
        **fields,
    }


def failure(space: Space) -> str:
    status = space.await_status(phase="Failed")
    (failed,) = [item for item in status["conditions"] if item["type"] == "Failed"]
    assert failed["reason"] == status["failure"]["reason"]
    space.wait(lambda: failed["reason"] in space.events(), "an event of the same reason")
    return str(failed["reason"])


class TestProgress:
    def test_a_gang_that_hangs_is_stopped_and_started_anew(
        self, space: Space, start_operator: StartOperator
    ) -> None:
        with FakeTrainer() as trainer:
            start_operator(progress_port=trainer.port)
            trainer.document = progress(45, work=work())
            space.submit()
            space.await_pods("job-0-0", "job-0-1")
            for pod in space.pods():
                space.kubelet.run(pod, ip="127.0.0.1")
            status = space.await_status(phase="Running", iteration=45)
            assert status["goodput"]["usefulIterations"] == 45
            trainer.document = progress(45, work=work(idleSeconds=22))
            status = space.await_status(attempt=1, restarts=1)
            assert status["restartsByReason"] == [{"reason": "ProgressDeadlineExceeded", "count": 1}]
            assert status["goodput"]["cause"] == "ProgressDeadlineExceeded"
            leaving = space.await_stopping(2)
            assert sorted(pod["metadata"]["deletionGracePeriodSeconds"] for pod in leaving) == [2, 12]

    def test_a_pod_that_answers_nobody_hangs(self, space: Space, start_operator: StartOperator) -> None:
        with FakeTrainer() as trainer:
            start_operator(progress_port=trainer.port)
            trainer.document = progress(45, work=work())
            space.submit(nodes=1, progressDeadlineSeconds=10)
            space.await_pods("job-0-0")
            space.kubelet.run("job-0-0", ip="127.0.0.1")
            space.await_status(phase="Running", iteration=45)
            with trainer.mute():
                space.kubelet.unready("job-0-0")
                space.await_status(attempt=1, restarts=1)


@pytest.mark.usefixtures("operator")
class TestDeadlines:
    def test_a_gang_that_does_not_come_to_run(self, space: Space) -> None:
        space.submit(startupDeadlineSeconds=1)
        assert failure(space) == "StartupDeadlineExceeded"
        assert "Waiting for 2 pods to run" in space.status()["message"]

    def test_a_volume_that_cannot_be_mounted_is_told_in_the_kubelet_s_words(self, space: Space) -> None:
        space.submit()
        space.await_pods("job-0-0", "job-0-1")
        space.kubelet.run("job-0-0")
        space.kubelet.fail_to_mount("job-0-1", 'MountVolume.SetUp failed: configmap "code" not found')
        status = space.wait(
            lambda: space.status() if "FailedMount" in space.status().get("message", "") else None,
            "the status to name the volume",
        )
        said = 'Waiting for pod job-0-1: FailedMount: MountVolume.SetUp failed: configmap "code" not found'
        assert (status["phase"], status["message"]) == ("Pending", said)

    def test_a_job_that_takes_too_long_saves_what_it_has(self, space: Space) -> None:
        space.submit(nodes=1, activeDeadlineSeconds=2)
        space.await_pods("job-0-0")
        space.kubelet.run("job-0-0")
        assert failure(space) == "DeadlineExceeded"
        grace = space.wait(
            lambda: [
                pod["metadata"]["deletionGracePeriodSeconds"]
                for pod in space.api.list("pods")
                if "deletionTimestamp" in pod["metadata"]
            ],
            "the pod to be told to stop",
        )
        assert grace == [120]


@pytest.mark.usefixtures("operator")
class TestFinished:
    def finish(self, space: Space, **run_policy: str) -> None:
        space.submit("job", 1, **run_policy)
        space.run("job-0-0")
        space.kubelet.end("job-0-0", 0, progress(100, phase="Finished", verdict=DONE))
        space.await_status(phase="Succeeded")

    def test_the_job_goes_when_its_time_has_come_and_not_before(self, space: Space) -> None:
        self.finish(space)
        patch = {"spec": {"runPolicy": {"ttlSecondsAfterFinished": 0}}}
        space.api.merge("detectrontrainingjobs", "job", patch)
        space.wait(lambda: not space.api.list("detectrontrainingjobs"), "the job to be gone")
        deletions = [write for write in space.audit.writes() if str(write) == "delete detectrontrainingjobs"]
        assert len(deletions) == 1

    def test_ended_pods_go_where_the_job_asks_for_it(self, space: Space) -> None:
        self.finish(space, cleanPodPolicy="All")
        space.await_pods()
        assert space.status()["replicaStatuses"]["succeeded"] == 1
