"""One API server for all tests of the operator; each test has a namespace and an operator of its own."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apiserver.api import Api
from tests.apiserver.audit import AuditLog
from tests.apiserver.fake_kubelet import FakeKubelet
from tests.apiserver.faulty_proxy import USER
from tests.apiserver.operator_process import Operator
from tests.apiserver.space import Space
from tests.cluster.controlplane import ControlPlane

CRD = Path(__file__).parents[2] / "crds" / "detectrontrainingjobs.yaml"


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd, API server and controllers; nothing schedules or runs pods."""
    with ControlPlane(tmp_path_factory.mktemp("plane"), scheduler=False, audit=True) as plane:
        plane.kubectl("apply", "-f", str(CRD))
        plane.kubectl("wait", "--for=condition=Established", "crd/detectrontrainingjobs.detectron.dev")
        yield plane


@pytest.fixture(scope="session")
def operator_kubeconfig(plane: ControlPlane) -> Path:
    """The operator as a user of its own, so that the audit log tells its requests from the tests'."""
    return plane.kubeconfig_for(USER, ["system:masters"])


_numbers = itertools.count()


@pytest.fixture
def space(plane: ControlPlane) -> Space:
    """A fresh namespace."""
    name = f"test-{next(_numbers)}"
    plane.kubectl("create", "namespace", name)
    api = Api(plane.kubeconfig, name)
    return Space(api, FakeKubelet(api), AuditLog(plane.audit_log, USER, name))


@pytest.fixture
def operator(space: Space, operator_kubeconfig: Path, tmp_path: Path) -> Iterator[Operator]:
    """An operator that serves only the test's namespace."""
    with Operator(tmp_path, operator_kubeconfig, namespaces=space.api.namespace) as process:
        yield process
