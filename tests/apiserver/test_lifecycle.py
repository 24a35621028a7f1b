"""A job's life on a real API server, as its user sees it: children, status, events, and the writes it takes.

Pods are run by a fake kubelet: no container is started.
"""

import json
from collections import Counter

import pytest

from tests.apiserver.space import Space

VERDICT = {"reason": "NonFiniteLoss", "message": "loss_cls is nan at iteration 7", "retryable": False}
DONE = {"reason": "Completed", "message": "trained 100 iterations", "retryable": False}
GANG = ("job-0-0", "job-0-1")


def run_gang(space: Space, attempt: int = 0) -> None:
    """Have the fake kubelet run both pods of an attempt, and wait until the job says so."""
    pods = (f"job-{attempt}-0", f"job-{attempt}-1")
    space.await_pods(*pods, *(pod for pod in space.pods() if pod not in pods))
    for pod in pods:
        space.kubelet.run(pod)
    space.await_status(phase="Running", attempt=attempt)


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

    def test_the_manifest_in_the_pods_is_the_job(self, space: Space) -> None:
        space.submit()
        space.await_status(phase="Pending")
        (content,) = space.api.get("configmaps", "job")["data"].values()
        assert json.loads(content)["spec"] == space.job()["spec"]

    def test_a_suspended_job_gets_no_children(self, space: Space) -> None:
        space.submit(suspend=True)
        space.await_status(phase="Suspended")
        assert space.pods() == []
        assert space.api.list("services") == []
        space.suspend(False)
        run_gang(space)
