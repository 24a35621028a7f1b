"""Fake nodes for a control plane: the scheduler is real, the pods on them only say that they run."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.cluster import binaries
from tests.cluster.controlplane import ControlPlane
from tests.cluster.daemon import Daemon
from tests.cluster.waiting import wait_until

STAGES = Path(__file__).parent / "kwok-stages.yaml"
CAPACITY = {"cpu": "256", "memory": "2Ti", "pods": "1000", "nvidia.com/gpu": "8"}


class FakeNodes:
    """`count` ready nodes `fake-000`, `fake-001`, ... of the given capacity, kept alive by kwok meanwhile.

    Used as `with ControlPlane(tmp_path) as plane, FakeNodes(plane, 20)`.
    """

    def __init__(self, plane: ControlPlane, count: int, capacity: Mapping[str, str] = CAPACITY) -> None:
        self.names = [f"fake-{index:03d}" for index in range(count)]
        self._plane, self._capacity = plane, dict(capacity)
        self.kwok = Daemon(
            "kwok",
            (
                str(binaries.program("kwok")),
                f"--kubeconfig={plane.kubeconfig}",
                f"--config={STAGES}",
                "--manage-all-nodes=true",
                "--node-lease-duration-seconds=40",
                "--cidr=10.128.0.0/9",
                "--node-ip=127.0.0.1",
            ),
            plane.directory,
        )

    def start(self) -> None:
        """Start kwok, create the nodes that are not there, and wait until every one is Ready."""
        self._plane.kubectl.apply(*map(self._node, self.names))
        self.kwok.start()
        wait_until(self._ready, 60, f"{len(self.names)} fake nodes to be Ready", interval=0.2)

    def stop(self) -> None:
        """Kill kwok; the nodes stay and go NotReady as lost nodes do."""
        self.kwok.signal(signal.SIGCONT)
        self.kwok.kill()

    def __enter__(self) -> FakeNodes:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _ready(self) -> bool:
        self.kwok.check()
        answer = self._plane.kubectl(
            "get", "nodes", "-o", 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}'
        )
        taints = self._plane.kubectl("get", "nodes", "-o", "jsonpath={.items[*].spec.taints}")
        return answer.split().count("True") >= len(self.names) and not taints.strip()

    def _node(self, name: str) -> dict[str, object]:
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
            },
            "status": {"capacity": self._capacity, "allocatable": self._capacity},
        }
