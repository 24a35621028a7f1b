"""The cluster that the end-to-end tests use: this machine's own, or whichever KUBECONFIG names."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import cache, leftovers, packages
from tests.cluster.console import say
from tests.cluster.kubectl import Kubectl
from tests.cluster.local import LocalCluster
from tests.cluster.node import Node

_LOCK = Path("/run/lock/detectron-test-cluster.lock")


KUBECONFIG = leftovers.STATE / "control-plane" / "admin.kubeconfig"


class ClusterError(RuntimeError):
    """The cluster is not what the caller needs; the message says what to do."""


@dataclass(frozen=True)
class Cluster:
    """A running cluster. `nodes` are this machine's, for faults; there are none where KUBECONFIG named it."""

    kubeconfig: Path
    nodes: tuple[Node, ...] = ()

    @property
    def ours(self) -> bool:
        """Whether it is the cluster of this machine."""
        return bool(self.nodes)

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(self.kubeconfig)

    def load_image(self, *archives: Path) -> None:
        """Import docker-archives into every node, at the same time; what a node took before is left alone.

        Raises:
            ClusterError: the nodes are not ours; they pull their images from a registry.
        """
        if not self.ours:
            raise ClusterError(
                f"{self.kubeconfig} is not this machine's cluster: push the images to a registry"
            )
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(lambda node: node.load_images(archives), self.nodes))

    def advertise(self, node: str, resources: Mapping[str, str]) -> None:
        """Give a node extended resources, say `{"nvidia.com/gpu": "8"}`: schedulable, with nothing behind."""
        status = {"status": {"capacity": dict(resources), "allocatable": dict(resources)}}
        self.kubectl("patch", "node", node, "--subresource=status", "--type=merge", "-p", json.dumps(status))


def up() -> Cluster:
    """This machine's cluster: as it runs, if it is whole and of this version, else made anew.

    Raises:
        MachineError: this machine cannot hold it.
    """
    packages.install()
    with cache.locked(_LOCK):
        local = LocalCluster()
        if local.whole():
            say("the cluster is up")
        else:
            leftovers.remove()
            local.start()
    return Cluster(local.plane.kubeconfig, local.nodes)


def down() -> None:
    """Remove the cluster and all that it left on this machine; nothing happens where there is none."""
    with cache.locked(_LOCK):
        leftovers.remove()
    say("nothing of the cluster is left")


def connect() -> Cluster:
    """The cluster for tests: KUBECONFIG's if the caller sets it, else this machine's, started if need be."""
    if given := os.environ.get("KUBECONFIG"):
        cluster = Cluster(Path(given))
        cluster.kubectl("get", "--raw", "/readyz")
        return cluster
    return up()


def status() -> dict[str, str]:
    """What runs and what does not, by part; empty where there is no cluster."""
    if not leftovers.STATE.exists():
        return {}
    local = LocalCluster()
    states = {
        name: f"running, pid {process.pid}" if (process := daemon.process()) else "stopped"
        for name, daemon in local.daemons.items()
    }
    reachable = local.plane.reads("/readyz")
    return states | {"nodes": "ready" if reachable and local.nodes_ready() else "not ready"}
