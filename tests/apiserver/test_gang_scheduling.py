"""Gangs that are scheduled as a whole: a real Kueue admits, holds back and preempts them.

The scheduler is real, pods are run by kwok; no container is started. Of Coscheduling only the
resource definition is real: it judges the PodGroup.
"""

import copy
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from detectron_operator.api import parse
from detectron_operator.manifests.gang import pod_group
from tests.apiserver.api import Api, Object
from tests.apiserver.audit import AuditLog
from tests.apiserver.conftest import grant_rights, install_crd
from tests.apiserver.fake_kubelet import FakeKubelet
from tests.apiserver.faulty_proxy import USER
from tests.apiserver.manifest_cases import GOOD
from tests.apiserver.operator_process import Operator
from tests.apiserver.space import Space
from tests.cluster import binaries
from tests.cluster.controlplane import ControlPlane
from tests.cluster.kubectl import Kubectl
from tests.cluster.kueue import Kueue
from tests.cluster.kwok import FakeNodes

NAMESPACE = "team"


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Space]:
    """A namespace with a quota of four processors, an operator, nodes with room for more than that."""
    folder = tmp_path_factory.mktemp("kueue")
    with ControlPlane(folder) as plane:
        install_crd(plane)
        grant_rights(plane)
        plane.kubectl("create", "namespace", NAMESPACE)
        with (
            FakeNodes(plane, 2),
            Kueue(plane) as kueue,
            Operator(folder, plane.kubeconfig_for(USER), namespaces=NAMESPACE),
        ):
            kueue.create_queue(NAMESPACE, cpus=4)
            api = Api(plane.kubeconfig, NAMESPACE)
            yield Space(
                api,
                Kubectl(plane.kubeconfig, NAMESPACE),
                FakeKubelet(api),
                AuditLog(plane.audit_log, USER, NAMESPACE),
            )


def queue(space: Space, name: str, priority: str | None = None) -> None:
    """Submit a job of two pods, two processors each."""
    manifest: Object = copy.deepcopy(GOOD)
    manifest["metadata"] = {"name": name, "namespace": NAMESPACE}
    kueue = {"queue": "queue"} | ({"workloadPriorityClass": priority} if priority else {})
    manifest["spec"] |= {
        "numNodes": 2,
        "resourcesPerNode": {"requests": {"cpu": 2}},
        "output": {"ephemeral": True},
        "checkpoint": {"gracePeriodSeconds": 10},
        "runPolicy": {"schedulingPolicy": {"kueue": kueue}},
    }
    space.api.create("detectrontrainingjobs", manifest)


def test_gangs_wait_for_quota_and_make_way_for_more_urgent_ones(space: Space) -> None:
    queue(space, "first")
    space.await_status("first", phase="Running", attempt=0)

    space.api.delete("pods", "first-0-1")
    space.wait(lambda: len(space.pods()) == 2 and "first-0-1" not in space.pods(), "the pod to be replaced")
    space.await_status("first", phase="Running", attempt=0, restarts=0, timeout=60)

    queue(space, "second")
    waiting = space.wait(
        lambda: space.status("second") if "SchedulingGated" in str(space.status("second")) else None,
        "the second job to be held back",
    )
    assert waiting["phase"] == "Pending"

    queue(space, "hasty", "urgent")
    space.await_status("hasty", phase="Running", timeout=60)
    preempted = space.status("first")
    assert preempted["phase"] == "Restarting"
    assert preempted["restarts"] == 0, "to be preempted is no failure"
    assert space.status("second")["phase"] == "Pending"

    def gated_for_seconds() -> bool:
        told = space.status("first")
        since = datetime.fromisoformat(told["goodput"]["accountedTime"])
        return "SchedulingGated" in str(told) and datetime.now(UTC) - since > timedelta(seconds=3)

    space.wait(gated_for_seconds, "the preempted job to be held back for a while", timeout=60)
    space.suspend(True, "second")
    space.await_status("second", phase="Suspended", timeout=60)
    space.suspend(True, "hasty")
    space.await_status("hasty", phase="Suspended", timeout=60)
    status = space.await_status("first", phase="Running", attempt=1, restarts=0, timeout=60)
    assert status["goodput"]["queuedSeconds"] > 0


DEFINITION = "config/crd/bases/scheduling.x-k8s.io_podgroups.yaml"


def test_coscheduling_s_own_definition_takes_the_pod_group_whole(space: Space) -> None:
    definition = binaries.module_folder("kueue", "sigs.k8s.io/scheduler-plugins") / DEFINITION
    space.kubectl("create", "-f", str(definition))
    space.submit_with(
        {
            "output": {"ephemeral": True},
            "resourcesPerNode": {"limits": {"cpu": "1"}},
            "runPolicy": {"schedulingPolicy": {"coscheduling": {}}},
        }
    )
    space.wait(lambda: "job-0-1" in space.pods(), "the gang to be created")
    (group,) = space.kubectl.get("podgroups.scheduling.x-k8s.io")["items"]
    sent: Any = pod_group(parse(space.job()))
    assert {field: group["spec"][field] for field in sent["spec"]} == sent["spec"]
    assert space.api.get("pods", "job-0-0")["spec"]["schedulerName"] == "scheduler-plugins-scheduler"
