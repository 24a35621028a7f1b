"""This machine's cluster itself: what a test may rely on, and what remains of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.cluster import cgroups, cluster, leftovers
from tests.cluster.cluster import Cluster
from tests.cluster.images import BUSYBOX_IMAGE
from tests.cluster.kubectl import KubectlError
from tests.cluster.waiting import wait_until

_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def _web_server(index: int) -> dict[str, object]:
    """A pod on node `index`, as restricted as the trainer's, that answers HTTP with its host name."""
    serve = "echo serving; hostname > /dev/shm/index.html; exec httpd -f -p 8080 -h /dev/shm"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"web-{index}", "labels": {"app": "web"}},
        "spec": {
            "hostname": f"host-{index}",
            "subdomain": "web",
            "nodeName": f"node-{index}",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}],
            "containers": [
                {
                    "name": "web",
                    "image": BUSYBOX_IMAGE,
                    "imagePullPolicy": "Never",
                    "command": ["sh", "-c", serve],
                    "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }


def _service(name: str, spec: dict[str, object]) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": "web"}, **spec},
    }


@pytest.fixture(scope="module")
def running() -> Cluster:
    """The cluster with a web server on each node."""
    up = cluster.up()
    up.kubectl("delete", "pods,services", "--selector=app=web", "--wait")
    up.kubectl.apply(
        _service("web", {"clusterIP": "None", "publishNotReadyAddresses": True}),
        _service("balanced", {"ports": [{"port": 80, "targetPort": 8080}]}),
        *(_web_server(index) for index in range(len(up.nodes))),
    )
    up.kubectl("wait", "--for=condition=Ready", "pods", "--selector=app=web", "--timeout=60s")
    return up


def _fetch(running: Cluster, pod: str, host: str) -> str:
    """What `host` answers to the pod, or the error: a new pod's name takes a moment to reach the DNS."""
    try:
        return running.kubectl("exec", pod, "--", "wget", "-qO-", f"http://{host}/").strip()
    except KubectlError as error:
        return str(error)


def test_up_again_leaves_the_running_cluster_alone(running: Cluster) -> None:
    before = cluster.status()

    cluster.up()

    assert cluster.status() == before
    assert all(state == "ready" or state.startswith("running") for state in before.values())


@pytest.mark.parametrize(("here", "there"), [(0, 1), (1, 0)])
def test_a_pod_reaches_the_other_nodes_by_name(running: Cluster, here: int, there: int) -> None:
    wait_until(
        lambda: _fetch(running, f"web-{here}", f"host-{there}.web:8080") == f"host-{there}",
        20,
        f"web-{here} to reach host-{there}",
        interval=0.2,
    )


def test_a_service_balances_over_both_nodes(running: Cluster) -> None:
    answers: set[str] = set()

    def both() -> bool:
        answers.add(_fetch(running, "web-0", "balanced"))
        return {"host-0", "host-1"} <= answers

    wait_until(both, 20, "both pods to answer", interval=0.1)


def test_each_node_keeps_the_logs_of_its_own_pods(running: Cluster) -> None:
    assert [running.kubectl("logs", f"web-{index}").strip() for index in range(2)] == ["serving", "serving"]


def test_advertised_gpus_can_be_requested(running: Cluster) -> None:
    running.advertise("node-1", {"nvidia.com/gpu": "8"})
    container = {
        "name": "gpus",
        "image": BUSYBOX_IMAGE,
        "imagePullPolicy": "Never",
        "command": ["true"],
        "resources": {"limits": {"nvidia.com/gpu": "8"}},
    }
    spec = {"restartPolicy": "Never", "containers": [container]}
    running.kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gpus"}, "spec": spec})

    running.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/gpus", "--timeout=60s")

    assert running.kubectl.get("pod", "gpus")["spec"]["nodeName"] == "node-1"
    running.kubectl("delete", "pod", "gpus")


def test_a_lost_node_is_noticed_and_comes_back(running: Cluster) -> None:
    lost = running.nodes[1]

    lost.kill()

    assert not cgroups.processes(lost.index)
    running.kubectl("wait", "--for=condition=Ready=Unknown", f"node/{lost.name}", "--timeout=60s")

    lost.start()

    running.kubectl("wait", "--for=condition=Ready", f"node/{lost.name}", "--timeout=60s")


def test_up_makes_a_new_cluster_when_every_process_was_killed(running: Cluster) -> None:
    for line in leftovers.found():
        kind, _, pid = line.partition(" ")
        if kind == "process":
            os.kill(int(pid), signal.SIGKILL)
    wait_until(lambda: "stopped" in cluster.status().values(), 20, "the last thread of a program to end")

    again = cluster.up()

    assert again.kubectl.get("pods")["items"] == []
    assert cluster.status()["nodes"] == "ready"


def test_down_leaves_nothing(running: Cluster) -> None:
    forwarding = leftovers.FORMER_FORWARDING.read_text()

    cluster.down()

    assert leftovers.found() == []
    assert cluster.status() == {}
    assert forwarding == _FORWARDING.read_text()
    cluster.down()
