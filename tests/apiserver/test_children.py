"""What a job owns beside its pods, and what a real API server lets through of them."""

import copy
from datetime import datetime
from typing import Any

import pytest

from tests.apiserver.api import Object
from tests.apiserver.conftest import StartOperator
from tests.apiserver.fake_trainer import progress
from tests.apiserver.manifest_cases import VARIANTS
from tests.apiserver.operator_process import Operator
from tests.apiserver.space import Space
from tests.cluster.controlplane import ControlPlane

GANG = ("job-0-0", "job-0-1")
CLAIM = {"size": "1Gi"}


def reason(space: Space) -> str:
    conditions = space.status().get("conditions", [])
    return next((str(item["reason"]) for item in conditions if item["type"] == "Running"), "")


@pytest.mark.usefixtures("operator")
class TestClaim:
    def test_outlives_the_job_and_serves_the_next_of_the_name(self, space: Space) -> None:
        space.submit_with({"output": {"claim": CLAIM}})
        space.await_pods(*GANG)
        made = space.api.get("persistentvolumeclaims", "job-output")
        assert "ownerReferences" not in made["metadata"]
        assert made["spec"]["resources"]["requests"]["storage"] == "1Gi"

        space.api.delete("detectrontrainingjobs", "job")
        space.await_collection()
        space.submit_with({"output": {"claim": CLAIM}})
        space.await_pods(*GANG)
        kept = space.api.get("persistentvolumeclaims", "job-output")
        assert kept["metadata"]["uid"] == made["metadata"]["uid"]

    def test_goes_with_the_job_where_asked(self, space: Space) -> None:
        job = space.submit_with({"output": {"claim": CLAIM | {"whenDeleted": "Delete"}}})
        space.await_pods(*GANG)
        (owner,) = space.api.get("persistentvolumeclaims", "job-output")["metadata"]["ownerReferences"]
        assert owner["uid"] == job["metadata"]["uid"]

    def test_of_somebody_else_is_left_alone(self, space: Space) -> None:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        space.api.create("persistentvolumeclaims", {"metadata": {"name": "job-output"}, "spec": spec})
        space.submit_with({"output": {"claim": CLAIM}})
        space.wait(lambda: reason(space) == "NameConflict", "the conflict to be told")
        assert "PersistentVolumeClaim job-output" in space.status()["message"]
        assert space.pods() == []


@pytest.mark.usefixtures("operator")
def test_a_gang_scheduler_that_is_not_installed_is_told(space: Space) -> None:
    space.submit(schedulingPolicy={"volcano": {}})
    space.wait(lambda: reason(space) == "CreateRefused", "the refusal to be told")
    assert space.status()["message"].startswith("PodGroup job: ")
    assert space.pods() == []


@pytest.mark.usefixtures("operator")
def test_pods_with_every_field_set_are_restricted(space: Space, plane: ControlPlane) -> None:
    """The API server's own judgement, by the Pod Security Standard that the namespace is held to."""
    space.kubectl("label", "namespace", space.api.namespace, "pod-security.kubernetes.io/enforce=restricted")
    plane.kubectl.apply(
        _cluster_object("scheduling.k8s.io/v1", "PriorityClass", "research", value=1),
        _cluster_object("node.k8s.io/v1", "RuntimeClass", "nvidia", handler="nvidia"),
    )
    whole = next(case for case in VARIANTS if case.name == "every field").document()["spec"]
    stored = next(case for case in VARIANTS if case.name == "what the cluster keeps").document()["spec"]
    spec: dict[str, Any] = copy.deepcopy({**whole, **{name: stored[name] for name in ("envFrom", "code")}})
    spec["runPolicy"]["suspend"] = False
    space.api.create("serviceaccounts", {"metadata": {"name": spec["serviceAccountName"]}})
    space.submit_with(spec)
    space.await_pods("job-preflight")
    space.kubelet.end("job-preflight", 0, checked("Completed", "no problems"))
    space.await_pods(*(f"job-0-{index}" for index in range(spec["numNodes"])))


CHECKED = {"preflight": {"enabled": True}}


@pytest.mark.parametrize(
    ("spec", "refused", "created"),
    [({}, "job-0-", GANG), (CHECKED, "job-preflight", ("job-preflight",))],
    ids=["gang", "check"],
)
@pytest.mark.usefixtures("operator")
def test_a_job_waits_for_its_service_account(
    space: Space, spec: Object, refused: str, created: tuple[str, ...]
) -> None:
    space.submit_with(spec | {"serviceAccountName": "robot"})
    space.wait(lambda: reason(space) == "CreateRefused", "the refusal to be told")
    status = space.status()
    assert status["phase"] == "Pending"
    assert status["message"].startswith(f"Pod {refused}")
    assert (
        f'service account {space.api.namespace}/robot: serviceaccount "robot" not found' in status["message"]
    )
    assert space.pods() == []

    space.api.create("serviceaccounts", {"metadata": {"name": "robot"}})
    space.await_pods(*created)
    for pod in map(dict[str, Any], space.api.list("pods")):
        assert pod["spec"]["serviceAccountName"] == "robot"
        mounts = [mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]]
        assert not [path for path in mounts if path.startswith("/var/run/secrets")], "no token is mounted"
    space.wait(lambda: reason(space) != "CreateRefused", "the refusal to be over")


def checked(reason: str, message: str) -> Object:
    """What a check leaves behind."""
    verdict = {"reason": reason, "message": message, "retryable": False}
    return progress(0, phase="Finished", verdict=verdict)


@pytest.mark.usefixtures("operator")
class TestPreflight:
    def test_a_job_with_problems_never_gets_a_gang(self, space: Space) -> None:
        space.submit_with(CHECKED)
        space.await_pods("job-preflight")
        status = space.await_status(phase="Pending")
        assert status["preflight"]["phase"] == "Checking"
        assert reason(space) == "Checking"
        problems = "spec.datasets[0].images: does not exist\nSOLVER.MAX_ITER must be at least 1"
        space.kubelet.end("job-preflight", 2, checked("InvalidConfig", problems))
        status = space.await_status(phase="Failed")
        assert status["failure"]["reason"] == "InvalidConfig"
        assert status["failure"]["message"] == problems
        assert status["preflight"]["message"] == problems
        space.await_pods()
        assert [str(write) for write in space.audit.writes()].count("create pods") == 1

    def test_the_gang_follows_and_the_check_goes(self, space: Space) -> None:
        space.submit_with(CHECKED)
        space.await_pods("job-preflight")
        space.kubelet.end("job-preflight", 0, checked("Completed", "no problems; 100 iterations"))
        space.await_pods(*GANG)
        for pod in GANG:
            space.kubelet.run(pod)
        status = space.await_status(phase="Running", attempt=0, restarts=0)
        assert status["preflight"]["phase"] == "Passed"
        assert status["preflight"]["message"] == "no problems; 100 iterations"
        space.wait(lambda: space.events() == ["CheckPassed", "Created"], "two events")

    def test_a_check_that_somebody_deletes_is_made_anew(self, space: Space) -> None:
        space.submit_with(CHECKED)
        space.await_pods("job-preflight")
        first = space.api.get("pods", "job-preflight")["metadata"]["uid"]
        space.api.delete("pods", "job-preflight")

        def anew() -> bool:
            return any(pod["metadata"]["uid"] != first for pod in space.api.list("pods"))

        space.wait(anew, "another check")
        assert space.pods() == ["job-preflight"]

    def test_a_check_that_a_node_rejects_is_made_anew_after_a_pause(
        self, space: Space, operator: Operator
    ) -> None:
        space.submit_with(CHECKED)
        space.await_pods("job-preflight")
        space.kubelet.reject("job-preflight", "OutOfcpu", "no room")
        status = space.wait(
            lambda: space.status() if reason(space) == "BackOff" else None, "the pause to be told"
        )
        assert "OutOfcpu: no room" in status["message"]
        assert status["preflight"]["restarts"] == 1
        operator.kill()
        operator.start()
        (pod,) = space.api.list("pods")
        rejected = pod["metadata"]["uid"]

        def anew() -> Object | None:
            found = (pod for pod in space.api.list("pods") if pod["metadata"]["uid"] != rejected)
            return next(found, None)

        new = space.wait(anew, "another check", timeout=30)
        due = datetime.fromisoformat(status["preflight"]["nextStartTime"])
        assert datetime.fromisoformat(new["metadata"]["creationTimestamp"]) >= due
        assert [str(write) for write in space.audit.writes()].count("create pods") == 2


def _cluster_object(version: str, kind: str, name: str, **fields: object) -> dict[str, object]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **fields}


def test_an_operator_that_is_told_to_annotates_pods_for_prometheus(
    space: Space, start_operator: StartOperator
) -> None:
    start_operator(annotate_for_prometheus="true")
    space.submit()
    space.await_pods(*GANG)
    for pod in GANG:
        assert space.api.get("pods", pod)["metadata"]["annotations"]["prometheus.io/scrape"] == "true"
