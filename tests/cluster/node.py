"""One node: a containerd, a kubelet, a bridge, a cgroup root and a range of pod addresses of its own."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import binaries, cache, cgroups, leftovers, network, pki
from tests.cluster.command import run
from tests.cluster.controlplane import ControlPlane
from tests.cluster.daemon import Daemon
from tests.cluster.waiting import wait_until

PAUSE_IMAGE = "localhost/pause:test"
_CRI = 'plugins."io.containerd.grpc.v1.cri"'


class Node:
    """The node `node-<index>`, in `<state>/node-<index>`."""

    def __init__(self, index: int, plane: ControlPlane) -> None:
        self.index = index
        self.name = f"node-{index}"
        self.address = network.node_address(index)
        self.directory = leftovers.STATE / self.name
        self._plane = plane
        self._socket = self.directory / "containerd" / "containerd.sock"
        env = {leftovers.MARKER: self.name}
        runtime = ("/usr/bin/containerd", "--config", str(self.directory / "containerd.toml"))
        kubelet = (
            str(binaries.program("kubelet")),
            f"--config={self.directory / 'kubelet.json'}",
            f"--kubeconfig={self.directory / 'kubelet.kubeconfig'}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.address}",
            f"--node-labels=detectron.dev/test-node={index}",
            f"--root-dir={self.directory / 'kubelet'}",
        )
        self.containerd = Daemon("containerd", runtime, self.directory, env=env, detached=True)
        self.kubelet = Daemon("kubelet", kubelet, self.directory, env=env, detached=True)

    def configure(self) -> None:
        """Write the configuration of both daemons, and make the cgroup."""
        (self.directory / "cni").mkdir(parents=True, exist_ok=True)
        cgroups.create(self.index)
        addresses = self.directory / "addresses"
        (self.directory / "cni" / "10-bridge.conflist").write_text(network.cni_config(self.index, addresses))
        (self.directory / "containerd.toml").write_text(self._containerd_config())
        (self.directory / "kubelet.json").write_text(json.dumps(self._kubelet_config(), indent=1))
        identity = self._plane.authority.kubeconfig(
            self._plane.server, f"system:node:{self.name}", ["system:nodes"]
        )
        pki.write_private(self.directory / "kubelet.kubeconfig", identity.encode())

    def start_runtime(self) -> None:
        """Start containerd and wait until it answers."""
        self.containerd.start()

        def answers() -> bool:
            self.containerd.check()
            with socket.socket(socket.AF_UNIX) as client:
                # The file alone says nothing: a killed containerd leaves it, and nobody answers the kubelet.
                return client.connect_ex(str(self._socket)) == 0

        wait_until(answers, 30, f"containerd of {self.name} to listen")

    def start_kubelet(self) -> None:
        """Start the kubelet unless it runs, and wait until it listens for device plugins.

        Every kubelet does so at the same path, whatever it is told: of two that begin at once one fails.
        """
        if self.kubelet.alive():
            return
        leftovers.DEVICE_PLUGIN_SOCKET.unlink(missing_ok=True)
        self.kubelet.start()

        def listens() -> bool:
            self.kubelet.check()
            return leftovers.DEVICE_PLUGIN_SOCKET.exists()

        wait_until(listens, 30, f"the kubelet of {self.name} to listen for device plugins")

    def start(self) -> None:
        """Start what does not run of the node; it joins the cluster by itself."""
        self.start_runtime()
        self.start_kubelet()

    def kill(self) -> None:
        """The node is lost: kubelet, containerd and every container die at once, and nothing is reported."""
        leftovers.kill_node(self.name, self.index)

    def kill_container(self, container: str) -> None:
        """SIGKILL every process of a container; the kubelet finds out by itself."""
        self._ctr("tasks", "kill", "--signal", "SIGKILL", "--all", container)

    def load_images(self, archives: Sequence[Path]) -> None:
        """Import docker-archives into the node's containerd, but for those that it took before."""
        taken = self.directory / "imported"
        taken.mkdir(exist_ok=True)
        for archive in archives:
            status = archive.stat()
            note = taken / cache.key([str(archive.resolve()), f"{status.st_size} {status.st_mtime_ns}"])
            if not note.exists():
                self._ctr("images", "import", str(archive))
                note.touch()

    def tag(self, image: str, name: str) -> None:
        """Give an image that the node has another name too."""
        self._ctr("images", "tag", image, name)

    def untag(self, name: str) -> None:
        """Forget an image's name; nothing happens where there is none."""
        self._ctr("images", "remove", name)

    def digest(self, image: str) -> str:
        """The digest of an image that the node has."""
        _, row = self._ctr("images", "list", f"name=={image}").splitlines()
        return row.split()[2]

    def images(self) -> set[str]:
        """The names of the images that the node has."""
        return set(self._ctr("images", "list", "--quiet").split())

    def _ctr(self, *arguments: str) -> str:
        return run("ctr", "--address", str(self._socket), "--namespace", "k8s.io", *arguments)

    def _containerd_config(self) -> str:
        home = self.directory / "containerd"
        unused = (
            "snapshotter.v1.aufs",
            "snapshotter.v1.btrfs",
            "snapshotter.v1.devmapper",
            "snapshotter.v1.zfs",
        )
        disabled = json.dumps([f"io.containerd.{plugin}" for plugin in (*unused, "internal.v1.opt")])
        return f"""version = 2
root = "{home}/root"
state = "{home}/state"
disabled_plugins = {disabled}
[grpc]
address = "{self._socket}"
[{_CRI}]
sandbox_image = "{PAUSE_IMAGE}"
# A machine without CAP_SYS_RESOURCE cannot lower the score, and every sandbox would fail on that.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[{_CRI}.containerd]
snapshotter = "overlayfs"
[{_CRI}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[{_CRI}.containerd.runtimes.runc.options]
Root = "{home}/runc"
[{_CRI}.cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{self.directory}/cni"
"""

    def _kubelet_config(self) -> dict[str, object]:
        server = self._plane.authority.issue(
            f"system:node:{self.name}", ["system:nodes"], [self.name, self.address]
        )
        certificate, key = server.write(self.directory / "kubelet-server")
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "x509": {"clientCAFile": str(self._plane.authority.path)},
                "anonymous": {"enabled": False},
                "webhook": {"enabled": False},
            },
            "authorization": {"mode": "AlwaysAllow"},
            "tlsCertFile": str(certificate),
            "tlsPrivateKeyFile": str(key),
            "address": self.address,
            "port": 10250 + 10 * self.index,
            "healthzPort": 10248 + 10 * self.index,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{cgroups.name(self.index)}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "containerRuntimeEndpoint": f"unix://{self._socket}",
            "clusterDomain": "cluster.local",
            "clusterDNS": [network.DNS_SERVICE],
            "resolvConf": "/etc/resolv.conf",
            # With the shared default each kubelet removes the logs of the other's pods.
            "podLogsDir": str(self.directory / "logs"),
            "volumePluginDir": str(self.directory / "volume-plugins"),
            "makeIPTablesUtilChains": False,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1Gi"},
            "imageGCHighThresholdPercent": 100,
        }
