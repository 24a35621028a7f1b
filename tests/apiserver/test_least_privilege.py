"""The operator uses every right that the chart gives it, and asks for no other: the API server's own record.

It is the chart's service account, bound by the chart's own bindings, for all namespaces or for one.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.apiserver import definitions
from tests.apiserver.api import Api, Object
from tests.apiserver.audit import Answer, AuditLog, answers
from tests.apiserver.conftest import install_crd
from tests.apiserver.fake_kubelet import FakeKubelet
from tests.apiserver.fake_trainer import progress
from tests.apiserver.faulty_proxy import FaultyProxy, Request
from tests.apiserver.operator_process import Operator
from tests.apiserver.space import Space
from tests.chart.helm import NAMESPACE, Manifest, Values, only, template
from tests.cluster.controlplane import ControlPlane
from tests.cluster.kubectl import Kubectl

TEAM = "team"
VOLCANO, COSCHEDULING = "scheduling.volcano.sh/v1beta1", "scheduling.x-k8s.io/v1alpha1"
DONE = {"reason": "Completed", "message": "", "retryable": False}
DISCOVERY = 'RBAC: allowed by ClusterRoleBinding "system:discovery" of ClusterRole "system:discovery"'
"""By which everybody may ask what resources there are, as kopf does when it starts."""

Right = tuple[str, str, str]
"""Verb, API group, resource with its subresource."""


@dataclass(frozen=True)
class Account:
    """A service account, what the chart binds to it, and the settings of the operator that has it."""

    name: str
    bindings: list[Manifest]
    roles: list[Manifest]
    settings: dict[str, str]

    @classmethod
    def of_chart(cls, values: Values) -> "Account":
        manifests = template(values)
        pod = only(manifests, "Deployment")["spec"]["template"]["spec"]
        subject = {"kind": "ServiceAccount", "name": pod["serviceAccountName"], "namespace": NAMESPACE}
        bindings = [found for found in manifests if subject in found.get("subjects", ())]
        bound = [(found["roleRef"]["kind"], found["roleRef"]["name"]) for found in bindings]
        roles = [found for found in manifests if (found["kind"], found["metadata"]["name"]) in bound]
        settings = {setting["name"]: setting.get("value", "") for setting in pod["containers"][0]["env"]}
        return cls(pod["serviceAccountName"], bindings, roles, settings)

    @property
    def user(self) -> str:
        return f"system:serviceaccount:{NAMESPACE}:{self.name}"

    @property
    def rights(self) -> set[Right]:
        return {
            (verb, group, resource)
            for role in self.roles
            for rule in role["rules"]
            for verb in rule["verbs"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
        }


@pytest.fixture(
    scope="module",
    params=[{}, {"scope": "Namespaced", "watchNamespaces": [TEAM]}],
    ids=["cluster", "namespaced"],
)
def account(request: pytest.FixtureRequest) -> Account:
    return Account.of_chart(request.param)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, account: Account) -> Iterator[ControlPlane]:
    """With the chart's rights, and with the PodGroups of both gang schedulers."""
    folder = tmp_path_factory.mktemp("rights")
    with ControlPlane(folder, controllers=False, scheduler=False, audit=True) as plane:
        install_crd(plane)
        definitions.install(plane, (VOLCANO, "PodGroup"), (COSCHEDULING, "PodGroup"))
        for namespace in (NAMESPACE, TEAM):
            plane.kubectl("create", "namespace", namespace)
        plane.kubectl.apply(*account.roles, *account.bindings)
        yield plane


@pytest.fixture
def space(plane: ControlPlane, account: Account) -> Space:
    api = Api(plane.kubeconfig, TEAM)
    audit = AuditLog(plane.audit_log, account.user, TEAM)
    return Space(api, Kubectl(plane.kubeconfig, TEAM), FakeKubelet(api), audit)


def test_the_rights_that_the_operator_uses_are_those_that_it_has(
    plane: ControlPlane, space: Space, account: Account, tmp_path: Path
) -> None:
    with (
        _nothing_refused(plane, account),
        FaultyProxy(plane, account.user) as proxy,
        Operator(
            tmp_path,
            proxy.kubeconfig(tmp_path / "kubeconfig"),
            namespaces=account.settings["DETECTRON_OPERATOR_NAMESPACES"],
            lease=account.settings["DETECTRON_OPERATOR_LEASE"],
        ) as operator,
    ):
        _fail_and_finish(space)
        _lose_a_pod(space)
        _suspend(space)
        _check_and_wait_for_a_mount(space)
        _schedule_as_a_gang(space)
        _find_names_taken(space)
        _change_while_the_operator_writes(space, proxy)
        assert operator.terminate() == 0
    seen = list(answers(plane.audit_log, account.user))
    elsewhere = [answer for answer in seen if not _is_by_the_chart(answer, account)]
    assert {answer.allowed_by.partition(" to ")[0] for answer in elsewhere} == {DISCOVERY}
    assert {str(answer) for answer in elsewhere} == {"get "}, "discovery is of no resource's objects"
    assert {answer.namespace for answer in seen if answer.writes} == {TEAM, NAMESPACE}
    used = {_right(answer) for answer in seen if answer.resource and answer.code < 300}
    idle, foreign = _in_words(account.rights - used), _in_words(used - account.rights)
    assert not idle, f"the chart gives in vain: {idle}"
    assert not foreign, f"the chart does not give: {foreign}"


@contextlib.contextmanager
def _nothing_refused(plane: ControlPlane, account: Account) -> Iterator[None]:
    """Say what was refused for want of rights, before anything that did not happen for it."""
    try:
        yield
    finally:
        seen = answers(plane.audit_log, account.user)
        refused = _in_words({_right(answer) for answer in seen if answer.code in (401, 403)})
        assert not refused, f"the operator may not: {refused}"


def _right(answer: Answer) -> Right:
    return answer.verb, answer.group, answer.resource


def _in_words(rights: Iterable[Right]) -> list[str]:
    return sorted(f"{verb} {resource} of group {group!r}" for verb, group, resource in rights)


def _is_by_the_chart(answer: Answer, account: Account) -> bool:
    """Whether the API server says that one of the chart's bindings allowed it."""
    names = (f'{binding["kind"]} "{binding["metadata"]["name"]}' for binding in account.bindings)
    return any(f"RBAC: allowed by {name}" in answer.allowed_by for name in names)


def _gang(space: Space, job: str, attempt: int = 0) -> list[str]:
    """Wait until both pods of an attempt run; returns their names."""
    pods = [f"{job}-{attempt}-{index}" for index in range(2)]
    space.wait(lambda: set(pods) <= set(space.pods()), f"the pods of {job}")
    for pod in pods:
        space.kubelet.run(pod)
    space.await_status(job, phase="Running", attempt=attempt)
    return pods


def _fail_and_finish(space: Space) -> None:
    """A failure, a restart, the end, and the deletion after it."""
    space.submit("short-lived", ttlSecondsAfterFinished=0)
    first, _ = _gang(space, "short-lived")
    space.kubelet.end(first, 1)
    space.await_status("short-lived", attempt=1, restarts=1)
    space.wait(space.kubelet.finish_deletions, "the survivor to be stopped")
    first, second = _gang(space, "short-lived", attempt=1)
    space.kubelet.end(second, 0)
    space.kubelet.end(first, 0, progress(100, attempt=1, phase="Finished", verdict=DONE))
    space.wait(lambda: space.api.find("detectrontrainingjobs", "short-lived") is None, "the job to go")


def _lose_a_pod(space: Space) -> None:
    space.submit_with({"output": {"claim": {"size": "1Gi", "whenDeleted": "Delete"}}}, "bereft")
    _, second = _gang(space, "bereft")
    space.api.delete("pods", second, gracePeriodSeconds=0)
    space.wait(lambda: "bereft-0-1r1" in space.pods(), "the pod to be replaced")


def _suspend(space: Space) -> None:
    space.submit("paused", schedulingPolicy={"kueue": {"queue": "vision"}})
    _gang(space, "paused")
    space.suspend(True, "paused")
    space.await_stopping(2)
    space.kubelet.finish_deletions()
    space.await_status("paused", phase="Suspended")


def _check_and_wait_for_a_mount(space: Space) -> None:
    space.submit_with({"preflight": {"enabled": True}}, "checked")
    space.wait(lambda: "checked-preflight" in space.pods(), "the check")
    space.kubelet.end("checked-preflight", 0, progress(0, phase="Finished", verdict=DONE))
    space.wait(lambda: "checked-0-0" in space.pods(), "the gang")
    space.kubelet.fail_to_mount("checked-0-0", "no such share")
    space.wait(lambda: "no such share" in space.status("checked")["message"], "the complaint to be told")


def _schedule_as_a_gang(space: Space) -> None:
    for scheduler in ("volcano", "coscheduling"):
        space.submit(scheduler, schedulingPolicy={scheduler: {}})
        _gang(space, scheduler)


def _find_names_taken(space: Space) -> None:
    """Something else has the name of a child, of each kind that there is."""
    container = {"name": "c", "image": "x"}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    cases: list[tuple[Object, Object]] = [
        (_foreign("v1", "Pod", "taken-0-0-0", spec={"containers": [container]}), {}),
        (_foreign("v1", "Service", "taken-1", spec={"ports": [{"port": 80}]}), {}),
        (_foreign("v1", "ConfigMap", "taken-2"), {}),
        (
            _foreign("v1", "PersistentVolumeClaim", "taken-3-output", spec=claim),
            {"output": {"claim": {"size": "1Gi"}}},
        ),
        (_foreign(VOLCANO, "PodGroup", "taken-4"), {"runPolicy": {"schedulingPolicy": {"volcano": {}}}}),
        (
            _foreign(COSCHEDULING, "PodGroup", "taken-5"),
            {"runPolicy": {"schedulingPolicy": {"coscheduling": {}}}},
        ),
    ]
    for number, (foreign, spec) in enumerate(cases):
        space.kubectl.create(foreign)
        space.submit_with(spec, f"taken-{number}")
        told = f"{foreign['kind']} {foreign['metadata']['name']} exists already"
        space.wait(
            lambda name=f"taken-{number}", told=told: told in space.status(name).get("message", ""),  # type: ignore[misc]
            f"the status to say: {told}",
        )


def _foreign(version: str, kind: str, name: str, **fields: object) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **fields}


def _change_while_the_operator_writes(space: Space, proxy: FaultyProxy) -> None:
    """The status that it writes is that of a job which has changed, so it reads the job anew."""

    def change(request: Request) -> int | None:
        if request.writes and request.path.endswith("detectrontrainingjobs/changed/status"):
            proxy.refuse = lambda _: None
            space.api.merge("detectrontrainingjobs", "changed", {"metadata": {"annotations": {"a": "b"}}})
        return None

    proxy.refuse = change
    space.submit("changed")
    _gang(space, "changed")
