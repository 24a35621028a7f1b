"""One API server for all tests of the operator; each test has a namespace and an operator of its own."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from tests.apiserver.api import Api
from tests.apiserver.audit import AuditLog
from tests.apiserver.fake_kubelet import FakeKubelet
from tests.apiserver.faulty_proxy import USER, FaultyProxy
from tests.apiserver.operator_process import OPERATOR, Operator
from tests.apiserver.space import Space
from tests.chart.helm import Manifest, only, template
from tests.cluster.controlplane import ControlPlane
from tests.cluster.kubectl import Kubectl
from tests.cluster.waiting import wait_until

CRD = Path(__file__).parents[2] / "crds" / "detectrontrainingjobs.yaml"


# Controllers for nodes and pods are left out: they would take away the pods of a node that nobody runs.
CONTROLLERS = (
    "garbage-collector-controller",
    "namespace-controller",
    "resourcequota-controller",
    "serviceaccount-controller",
)


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd, API server and controllers; nothing schedules or runs pods."""
    with ControlPlane(
        tmp_path_factory.mktemp("plane"),
        scheduler=False,
        audit=True,
        controller_flags=[f"--controllers={','.join(CONTROLLERS)}"],
    ) as plane:
        install_crd(plane)
        grant_rights(plane)
        yield plane


def install_crd(plane: ControlPlane) -> None:
    """Install the custom resource and wait until it is served.

    `kubectl wait` on a resource definition that is a moment old fails, because it has no conditions yet.
    """
    # As helm does: a field that is none of Kubernetes' is refused, not dropped.
    plane.kubectl("apply", "--server-side", "-f", str(CRD))
    wait_until(
        lambda: plane.reads("/apis/detectron.dev/v1alpha1"), 20, "the API server to serve our resource"
    )


def grant_rights(plane: ControlPlane) -> None:
    """Give the operator's user the rights that the chart gives to the operator, and no others."""
    role = operator_role()
    plane.kubectl.apply(role, _binding(role))


def operator_role() -> Manifest:
    """The chart's role for the operator in all namespaces."""
    return only(template({"userRoles": {"create": False}}), "ClusterRole")


def grant_lease(plane: ControlPlane, lease: str) -> None:
    """Give the operator's user the chart's right to one Lease, `namespace/name`."""
    namespace, _, name = lease.partition("/")
    role = only(template({"fullnameOverride": name}), "Role")
    role["metadata"]["namespace"] = namespace
    plane.kubectl.apply(role, _binding(role))


def _binding(role: Manifest) -> Manifest:
    """What binds a role to the operator's user."""
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": f"{role['kind']}Binding",
        "metadata": {
            field: role["metadata"][field] for field in ("name", "namespace") if field in role["metadata"]
        },
        "roleRef": {"apiGroup": group, "kind": role["kind"], "name": role["metadata"]["name"]},
        "subjects": [{"apiGroup": group, "kind": "User", "name": USER}],
    }


@pytest.fixture(scope="session")
def operator_kubeconfig(plane: ControlPlane) -> Path:
    """The operator as a user of its own, so that the audit log tells its requests from the tests'."""
    return plane.kubeconfig_for(USER)


_numbers = itertools.count()


@pytest.fixture
def space(plane: ControlPlane) -> Space:
    """A fresh namespace."""
    return fresh_space(plane)


def fresh_space(plane: ControlPlane) -> Space:
    """A namespace that nobody has used yet, and that pods can be made in.

    Controllers that have just lost their API server look for new namespaces again after half a minute.
    """
    name = f"test-{next(_numbers)}"
    plane.kubectl("create", "namespace", name)
    api = Api(plane.kubeconfig, name)
    wait_until(lambda: api.find("serviceaccounts", "default"), 90, f"the service account of {name}")
    kubectl = Kubectl(plane.kubeconfig, name)
    return Space(api, kubectl, FakeKubelet(api), AuditLog(plane.audit_log, USER, name))


class StartOperator(Protocol):
    """Starts an operator for the test's namespace."""

    def __call__(
        self, kubeconfig: Path | None = None, program: Sequence[str] = OPERATOR, **settings: object
    ) -> Operator: ...


@pytest.fixture
def start_operator(space: Space, operator_kubeconfig: Path, tmp_path: Path) -> Iterator[StartOperator]:
    """Starts one operator, which serves only the test's namespace, with the settings that the test wants."""
    with contextlib.ExitStack() as running:

        def start(
            kubeconfig: Path | None = None, program: Sequence[str] = OPERATOR, **settings: object
        ) -> Operator:
            chosen = {"namespaces": space.api.namespace} | settings
            directory = tmp_path / f"operator-{next(_numbers)}"
            directory.mkdir()
            process = Operator(directory, kubeconfig or operator_kubeconfig, program, **chosen)
            return running.enter_context(process)

        yield start


@pytest.fixture
def operator(start_operator: StartOperator) -> Operator:
    """An operator with the tests' usual settings."""
    return start_operator()


@pytest.fixture
def proxy(plane: ControlPlane) -> Iterator[FaultyProxy]:
    """Stands between the operator and the API server."""
    with FaultyProxy(plane) as proxy:
        yield proxy


@pytest.fixture
def proxied(proxy: FaultyProxy, start_operator: StartOperator, tmp_path: Path) -> Operator:
    """An operator that reaches the API server through the proxy only."""
    return start_operator(proxy.kubeconfig(tmp_path / "kubeconfig"))
