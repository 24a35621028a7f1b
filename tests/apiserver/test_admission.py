"""Who may create a job, and how large a one: the chart's policy on a real API server, with users of it."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver.api import Api, ApiError, Object
from tests.apiserver.conftest import install_crd
from tests.apiserver.manifest_cases import GOOD
from tests.chart.helm import of_kind, only, template
from tests.cluster.controlplane import ControlPlane
from tests.cluster.waiting import wait_until

NAMESPACE = "vision"
LIMITS: dict[str, Any] = {
    "maxNodes": 4,
    "maxGPUs": 8,
    "imagePrefixes": ["registry.example/vision/", "registry.example/base@"],
    "serviceAccounts": ["bucket-reader", "bucket-writer"],
}
AUTHOR, CLERK, READER, EDITOR = "author", "clerk", "reader", "editor"
"""Who may create jobs and pods, who may create jobs only, who may look, who has Kubernetes' own role edit."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("admission"), controllers=False, scheduler=False) as plane:
        install_crd(plane)
        plane.kubectl("create", "namespace", NAMESPACE)
        plane.kubectl("create", "namespace", "elsewhere")
        grant_user_roles(plane)
        manifest = job("older", NAMESPACE, numNodes=5)
        Api(plane.kubeconfig, NAMESPACE).create("detectrontrainingjobs", manifest)
        values = {"scope": "Namespaced", "watchNamespaces": [NAMESPACE], "admission": {"limits": LIMITS}}
        manifests = template(values)
        plane.kubectl.apply(
            only(manifests, "ValidatingAdmissionPolicy"), only(manifests, "ValidatingAdmissionPolicyBinding")
        )
        wait_until(lambda: _is_refused(plane), 30, "the admission policy to be in force", interval=0.2)
        yield plane


def grant_user_roles(plane: ControlPlane) -> None:
    """Give the chart's user roles to users; the author may create pods besides, and use one account."""
    roles = {role["metadata"]["name"].rpartition("-")[2]: role for role in of_kind(template(), "ClusterRole")}
    plane.kubectl.apply(roles["view"], roles["edit"])
    plane.kubectl("create", "clusterrole", "pod-creator", "--verb=create", "--resource=pods")
    impersonate = ["--verb=impersonate", "--resource=serviceaccounts", "--resource-name=bucket-reader"]
    plane.kubectl("create", "clusterrole", "bucket-reader", *impersonate)
    grants = {READER: ["view"], CLERK: ["view", "edit"], AUTHOR: ["view", "edit"], EDITOR: ["view", "edit"]}
    for user, granted in grants.items():
        for role in granted:
            name = roles[role]["metadata"]["name"]
            plane.kubectl(
                "create", "clusterrolebinding", f"{user}-{role}", f"--clusterrole={name}", f"--user={user}"
            )
    # What Kubernetes itself puts into its role edit; here runs no controller that would do so.
    for user, role in (
        (AUTHOR, "pod-creator"),
        (AUTHOR, "bucket-reader"),
        (EDITOR, "system:aggregate-to-edit"),
    ):
        binding = ["create", "rolebinding", f"{user}-{role}", f"--user={user}", f"--clusterrole={role}"]
        plane.kubectl(*binding, "-n", NAMESPACE)


def _is_refused(plane: ControlPlane) -> bool:
    try:
        submit(plane, "admin", numNodes=5)
    except ApiError:
        return True
    return False


def job(name: str, namespace: str, **spec: object) -> Object:
    manifest = copy.deepcopy(GOOD)
    manifest["metadata"] = {"name": name, "namespace": namespace}
    manifest["spec"] |= spec
    return manifest


def submit(plane: ControlPlane, user: str, *, namespace: str = NAMESPACE, **spec: Any) -> None:
    """Let a user create a job, without storing it."""
    api = Api(_kubeconfig(plane, user), namespace)
    api.request("POST", api.path("detectrontrainingjobs") + "?dryRun=All", job("job", namespace, **spec))


def _kubeconfig(plane: ControlPlane, user: str) -> Path:
    return plane.kubeconfig if user == "admin" else plane.kubeconfig_for(user)


def test_who_may_create_pods_may_create_jobs(plane: ControlPlane) -> None:
    submit(plane, AUTHOR)


def test_who_may_not_create_pods_may_not_have_them_created(plane: ControlPlane) -> None:
    with pytest.raises(ApiError, match="clerk may not create pods in namespace vision") as refusal:
        submit(plane, CLERK)
    assert refusal.value.code == 403


def test_the_right_is_that_of_the_job_s_own_namespace(plane: ControlPlane) -> None:
    """The policy of an operator that serves some namespaces leaves the others alone."""
    submit(plane, CLERK, namespace="elsewhere")


@pytest.mark.parametrize("account", ["bucket-reader", "bucket-writer"])
def test_whom_kubernetes_lets_edit_a_namespace_may_have_its_accounts(
    plane: ControlPlane, account: str
) -> None:
    submit(plane, EDITOR, serviceAccountName=account)


def test_who_may_impersonate_one_account_may_have_no_other(plane: ControlPlane) -> None:
    submit(plane, AUTHOR, serviceAccountName="bucket-reader")
    words = "author may not impersonate service account bucket-writer in namespace vision"
    with pytest.raises(ApiError, match=words) as refusal:
        submit(plane, AUTHOR, serviceAccountName="bucket-writer")
    assert refusal.value.code == 403


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, "bucket-reader"), ("bucket-reader", "bucket-writer"), ("bucket-reader", None)],
)
def test_an_account_cannot_be_had_by_a_change_of_the_job(
    plane: ControlPlane, before: str | None, after: str | None
) -> None:
    """Updates pass the policy, so the schema has to refuse this one, to administrators as well."""
    author, admin = (Api(_kubeconfig(plane, user), NAMESPACE) for user in (AUTHOR, "admin"))
    author.create("detectrontrainingjobs", job("fixed", NAMESPACE, **_account(before)))
    try:
        for api in (author, admin):
            with pytest.raises(ApiError, match="immutable") as refusal:
                api.merge("detectrontrainingjobs", "fixed", {"spec": {"serviceAccountName": after}})
            assert refusal.value.code == 422
        assert author.get("detectrontrainingjobs", "fixed")["spec"].get("serviceAccountName") == before
    finally:
        admin.delete("detectrontrainingjobs", "fixed")


def _account(name: str | None) -> Object:
    return {} if name is None else {"serviceAccountName": name}


def test_readers_only_read(plane: ControlPlane) -> None:
    api = Api(_kubeconfig(plane, READER), NAMESPACE)
    assert [found["metadata"]["name"] for found in api.list("detectrontrainingjobs")] == ["older"]
    with pytest.raises(ApiError, match="cannot create resource"):
        submit(plane, READER)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"numNodes": 5}, "the job asks for 5 nodes, at most 4 are allowed here"),
        (
            {"numNodes": 3, "resourcesPerNode": {"limits": {"nvidia.com/gpu": "4"}}},
            "the job asks for 12 GPUs on all nodes, at most 8 are allowed here",
        ),
        (
            {"numNodes": 4, "resourcesPerNode": {"limits": {"nvidia.com/mig-1g.5gb": 3}}},
            "the job asks for 12 GPUs on all nodes, at most 8 are allowed here",
        ),
        (
            {"image": "docker.example/miner"},
            "spec.image docker.example/miner does not begin with any of registry.example/vision/",
        ),
        (
            {"serviceAccountName": "cluster-admin"},
            "spec.serviceAccountName cluster-admin is none of bucket-reader, bucket-writer",
        ),
    ],
)
def test_what_exceeds_the_limits_is_refused_even_to_an_administrator(
    plane: ControlPlane, spec: dict[str, Any], words: str
) -> None:
    with pytest.raises(ApiError, match=words) as refusal:
        submit(plane, "admin", **spec)
    assert refusal.value.code == 422


@pytest.mark.parametrize(
    "spec",
    [
        {"numNodes": 4},
        {"numNodes": 2, "resourcesPerNode": {"limits": {"amd.com/gpu": 4, "memory": "5Gi"}}},
        {"resourcesPerNode": {"requests": {"cpu": 1}}},
        {"image": "registry.example/vision/trainer:1"},
    ],
)
def test_what_keeps_within_the_limits_is_taken(plane: ControlPlane, spec: dict[str, Any]) -> None:
    submit(plane, AUTHOR, **spec)


def test_an_elastic_job_counts_as_large_as_it_may_grow(plane: ControlPlane) -> None:
    with pytest.raises(ApiError, match="the job asks for 6 nodes, at most 4 are allowed here"):
        submit(plane, AUTHOR, numNodes=2, elasticPolicy={"minNodes": 1, "maxNodes": 6})
    submit(plane, AUTHOR, numNodes=2, elasticPolicy={"minNodes": 1, "maxNodes": 4})


def test_a_job_that_is_there_already_can_be_suspended_by_who_creates_no_pods(plane: ControlPlane) -> None:
    """As a queue does; and limits that came later leave it alone."""
    clerk = Api(_kubeconfig(plane, CLERK), NAMESPACE)
    clerk.merge("detectrontrainingjobs", "older", {"spec": {"runPolicy": {"suspend": True}}})
    older = clerk.get("detectrontrainingjobs", "older")["spec"]
    assert older["numNodes"] > LIMITS["maxNodes"]
    assert older["runPolicy"]["suspend"] is True
