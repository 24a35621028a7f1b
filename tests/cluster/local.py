"""The two-node cluster of this machine: its parts, and the order in which they start."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cluster import cache, leftovers, network
from tests.cluster.console import say
from tests.cluster.controlplane import ControlPlane, Ports
from tests.cluster.daemon import Daemon
from tests.cluster.images import busybox, pause
from tests.cluster.leftovers import STATE
from tests.cluster.node import Node
from tests.cluster.services import Dns, ServiceProxy
from tests.cluster.waiting import wait_until

_NODES = 2
_PORTS = Ports(apiserver=6443, etcd=2379, etcd_peer=2380)
_READY = (
    'jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status} {.spec.taints}{"\\n"}{end}'
)


class LocalCluster:
    """All parts of the cluster, running or not; making this object changes nothing on the machine."""

    def __init__(self) -> None:
        self.plane = ControlPlane(
            STATE / "control-plane",
            _PORTS,
            address=network.HOST_ADDRESS,
            detached=True,
            # A lost node is noticed after 20 s instead of 50.
            controller_flags=["--node-monitor-grace-period=20s"],
            env={leftovers.MARKER: "control-plane"},
        )
        self.nodes = tuple(Node(index, self.plane) for index in range(_NODES))
        self._dns, self._proxy = Dns(self.plane), ServiceProxy(self.plane)

    @property
    def daemons(self) -> dict[str, Daemon]:
        """Every program, by a name that says where it belongs."""
        shared = (*self.plane.daemons, self._dns.daemon, self._proxy.daemon)
        of_nodes = {f"{n.name} {d.name}": d for n in self.nodes for d in (n.containerd, n.kubelet)}
        return {daemon.name: daemon for daemon in shared} | of_nodes

    def whole(self) -> bool:
        """Whether every part runs and was started by this version of the machinery."""
        return (
            _MADE_BY.exists()
            and _MADE_BY.read_text() == _machinery()
            and all(daemon.alive() for daemon in self.daemons.values())
            and self.plane.reads("/readyz")
            and self.nodes_ready()
        )

    def nodes_ready(self) -> bool:
        """Whether every node is Ready and takes pods."""
        lines = self.plane.kubectl("get", "nodes", "-o", _READY).splitlines()
        return [line.strip() for line in lines] == ["True"] * _NODES

    def start(self) -> None:
        """Start it on a machine that has nothing of it, and wait until pods can run on every node."""
        images = (pause(), busybox())
        STATE.mkdir(parents=True)
        network.create(_NODES, leftovers.FORMER_FORWARDING)
        say("starting the control plane and containerd")
        with ThreadPoolExecutor() as pool:
            plane = pool.submit(self.plane.start)
            for node in self.nodes:
                node.configure()
            self._each_node(Node.start_runtime)
            plane.result()
        say("control plane ready; starting kubelets, DNS and the service proxy")
        for node in self.nodes:
            node.start_kubelet()
        self._proxy.start()
        self._dns.start()
        self._each_node(lambda node: node.load_images(images))
        self._dns.wait_ready()
        wait_until(self._settled, 90, "the nodes to be Ready", interval=0.2)
        _MADE_BY.write_text(_machinery())
        say(f"{_NODES} nodes ready; kubeconfig {self.plane.kubeconfig}")

    def _each_node(self, act: Callable[[Node], None]) -> None:
        with ThreadPoolExecutor(_NODES) as pool:
            list(pool.map(act, self.nodes))

    def _settled(self) -> bool:
        for daemon in self.daemons.values():
            daemon.check()
        return self.nodes_ready()


_MADE_BY = STATE / "made-by"


# The modules that decide how the cluster is made: when one of them changes, `up` makes a new one.
_DECISIVE = (
    "binaries",
    "cgroups",
    "controlplane",
    "leftovers",
    "local",
    "network",
    "node",
    "pki",
    "services",
)


def _machinery() -> str:
    folder = Path(__file__).parent
    return cache.key(
        [*(folder / f"{module}.py" for module in _DECISIVE), *sorted(folder.glob("tools/*/go.*"))]
    )
