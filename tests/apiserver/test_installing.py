"""Installing, upgrading and uninstalling the chart with the real helm, beside a job that runs.

No kubelet starts the operator: it runs as a process, with the rights of the service account that helm made.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.apiserver import definitions
from tests.apiserver.api import Object
from tests.apiserver.conftest import CONTROLLERS
from tests.apiserver.operator_process import Operator
from tests.apiserver.space import Space
from tests.chart.helm import CHART, NAMESPACE, RELEASE, HelmError, Values, helm, of_kind, template
from tests.chart.previous import NEW_FIELD, lowered, training_fields
from tests.cluster.controlplane import ControlPlane
from tests.cluster.kubectl import Kubectl
from tests.cluster.waiting import wait_until

DEFINITION = "detectrontrainingjobs.detectron.dev"
GANG = ("job-0-0", "job-0-1")
CHILDREN = ("pods", "services", "configmaps")
OTHER = "other"
"""Another release's name."""
NAME = f"{RELEASE}-detectron-operator"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{NAME}"
EVERYTHING: Values = {
    "monitoring": {
        "podMonitors": {"enabled": True},
        "rules": {"enabled": True},
        "dashboards": {"enabled": True},
    }
}
MONITORING = "monitoring.coreos.com/v1"
AGGREGATION = "clusterrole-aggregation-controller"
"""Without it the role admin is empty."""
NOTHING_CLUSTER_WIDE: Values = {
    "scope": "Namespaced",
    "crds": {"enabled": False},
    "admission": {"enabled": False},
    "userRoles": {"create": False},
}


@dataclass
class Release:
    """The chart in a control plane."""

    plane: ControlPlane
    directory: Path

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(self.plane.kubeconfig, NAMESPACE)

    def helm(self, *arguments: str | Path, values: Values | None = None) -> str:
        where = ("--kubeconfig", self.plane.kubeconfig, "--namespace", NAMESPACE)
        return helm(*arguments, *where, values=values)

    def install(self, chart: Path = CHART, **values: object) -> None:
        self.helm("install", RELEASE, chart, "--create-namespace", values=EVERYTHING | values)

    def upgrade(self, **values: object) -> None:
        self.helm("upgrade", RELEASE, CHART, values=EVERYTHING | values)

    def manifest(self) -> list[Object]:
        """All that helm has installed."""
        return [found for found in yaml.safe_load_all(self.helm("get", "manifest", RELEASE)) if found]

    def those_left(self, manifests: list[Object]) -> list[str]:
        """The kinds and names of those that are there."""
        stdin = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        return self.kubectl("get", "-f", "-", "--ignore-not-found", "-o", "name", stdin=stdin).split()

    def operator(self) -> Operator:
        """As the Deployment would start it."""
        return Operator(
            self.directory, self.plane.kubeconfig_for(ACCOUNT), lease=f"{NAMESPACE}/{NAME}", lease_duration=3
        )


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(
        tmp_path_factory.mktemp("installing"),
        scheduler=False,
        controller_flags=[f"--controllers={','.join((*CONTROLLERS, AGGREGATION))}"],
    ) as plane:
        definitions.install(plane, (MONITORING, "PodMonitor"), (MONITORING, "PrometheusRule"))
        yield plane


@pytest.fixture
def release(plane: ControlPlane, tmp_path: Path) -> Iterator[Release]:
    """Not yet installed; nothing of it stays."""
    release = Release(plane, tmp_path)
    yield release
    release.helm("uninstall", RELEASE, OTHER, "--ignore-not-found", "--wait")
    plane.kubectl("delete", "crd", DEFINITION, "--ignore-not-found")


@pytest.fixture
def previous_chart(tmp_path: Path) -> Path:
    """A chart of a lower version, whose jobs lack a field."""
    return lowered(tmp_path / "previous")


def _has_new_field(release: Release) -> bool:
    return NEW_FIELD in training_fields(release.kubectl.get("crd", DEFINITION))


def _versions(space: Space) -> dict[tuple[str, str], tuple[str, str]]:
    """Uid and version of the job, of what its author wrote in it, and of its children."""
    versions = {"detectrontrainingjobs": "generation"} | dict.fromkeys(CHILDREN, "resourceVersion")
    return {
        (plural, found["metadata"]["name"]): (found["metadata"]["uid"], found["metadata"][version])
        for plural, version in versions.items()
        for found in space.api.list(plural)
    }


def test_an_upgrade_leaves_running_jobs_alone(release: Release, space: Space, previous_chart: Path) -> None:
    release.install(previous_chart)
    assert not _has_new_field(release)
    with release.operator() as operator:
        space.submit()
        space.run(*GANG)
        assert operator.terminate() == 0
        before = _versions(space)
        release.upgrade()
        assert _has_new_field(release)
        operator.start()
        space.submit_with({"training": {NEW_FIELD: True}}, "next")
        space.await_pods(*GANG, "next-0-0", "next-0-1")
        assert before.items() <= _versions(space).items()
        assert space.job("next")["spec"]["training"][NEW_FIELD] is True
        # What is stored of the older job has no such field, and must not seem to be changed by an update.
        space.suspend(True)
        space.await_stopping(2)


def test_jobs_outlive_the_release_and_the_next_one_takes_them_up(release: Release, space: Space) -> None:
    release.install()
    made = release.manifest()
    with release.operator() as operator:
        space.submit()
        space.run(*GANG)
        assert operator.terminate() == 0
        before = _versions(space)
        assert len(release.those_left(made)) == len(made)
        release.helm("uninstall", RELEASE, "--wait")
        assert release.those_left(made) == [f"customresourcedefinition.apiextensions.k8s.io/{DEFINITION}"]
        assert _versions(space) == before
        assert release.kubectl.get("lease", NAME), "the operator's own"
        release.install()
        operator.start()
        space.api.delete("pods", "job-0-1", gracePeriodSeconds=0)
        space.run("job-0-0", "job-0-1r1")
    kept = ("detectrontrainingjobs", "job"), ("pods", "job-0-0")
    assert [_versions(space)[key][0] for key in kept] == [before[key][0] for key in kept]


def test_another_release_takes_the_jobs_up_where_it_is_told_to(release: Release, space: Space) -> None:
    release.install()
    job = space.submit()
    release.helm("uninstall", RELEASE, "--wait")
    with pytest.raises(HelmError, match="invalid ownership metadata"):
        release.helm("install", OTHER, CHART)
    release.helm("install", OTHER, CHART, "--take-ownership")
    assert space.job()["metadata"]["uid"] == job["metadata"]["uid"]


def test_jobs_go_with_the_release_where_asked(release: Release, space: Space) -> None:
    release.install()
    space.submit()
    made = release.manifest()
    release.upgrade(crds={"keep": False})
    assert space.job()["metadata"]["name"] == "job", "until it is uninstalled"
    release.helm("uninstall", RELEASE, "--wait")
    assert release.those_left(made) == []


def test_an_administrator_of_one_namespace_needs_the_operator_s_rights_there(
    plane: ControlPlane, release: Release
) -> None:
    wait_until(lambda: plane.kubectl.get("clusterrole", "admin").get("rules"), 20, "admin to have its rights")
    plane.kubectl.apply(yaml.safe_load((CHART / "files" / "detectrontrainingjobs.yaml").read_text()))
    plane.kubectl("create", "namespace", "owned")
    granting = Kubectl(plane.kubeconfig, "owned")
    granting("create", "rolebinding", "admin", "--clusterrole=admin", "--user=owner")
    where = ("--kubeconfig", plane.kubeconfig_for("owner"), "--namespace", "owned")
    install = ("upgrade", "--install", RELEASE, CHART, *where)
    with pytest.raises(HelmError, match="attempting to grant RBAC permissions not currently held"):
        helm(*install, values=NOTHING_CLUSTER_WIDE)
    operator = next(
        role for role in of_kind(template(NOTHING_CLUSTER_WIDE), "Role") if len(role["rules"]) > 2
    )
    granting.apply(operator | {"metadata": {"name": "owner"}})
    granting("create", "rolebinding", "owner", "--role=owner", "--user=owner")
    helm(*install, values=NOTHING_CLUSTER_WIDE)
    helm("uninstall", RELEASE, *where, "--wait")
