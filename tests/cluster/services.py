"""What runs once for the whole cluster beside the control plane: DNS and the services' addresses."""

from __future__ import annotations

import json
import socket

from tests.cluster import binaries, leftovers, network
from tests.cluster.controlplane import ControlPlane
from tests.cluster.daemon import Daemon
from tests.cluster.waiting import wait_until

_PORTS = [
    {"name": f"dns-{protocol.lower()}", "port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")
]
_SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "kube-dns", "namespace": "kube-system"},
    "spec": {"clusterIP": network.DNS_SERVICE, "ports": _PORTS},
}
# The service has no selector, because CoreDNS runs outside of the cluster.
_ENDPOINTS = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {
        "name": "kube-dns",
        "namespace": "kube-system",
        "labels": {"kubernetes.io/service-name": "kube-dns"},
    },
    "addressType": "IPv4",
    "ports": _PORTS,
    "endpoints": [{"addresses": [network.HOST_ADDRESS]}],
}


class Dns:
    """CoreDNS on the host, which answers for cluster.local at the address of the `kube-dns` service."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._directory = leftovers.STATE / "dns"
        argv = (str(binaries.program("coredns")), "-conf", str(self._directory / "Corefile"))
        self.daemon = Daemon("coredns", argv, self._directory, env={leftovers.MARKER: "dns"}, detached=True)

    def start(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        kubeconfig = self._plane.kubeconfig_for("system:dns", ["system:masters"])
        (self._directory / "Corefile").write_text(f"""
.:53 {{
  bind {network.HOST_ADDRESS}
  errors
  kubernetes cluster.local in-addr.arpa ip6.arpa {{
    kubeconfig {kubeconfig}
    ttl 5
  }}
  cache 5
}}
""")
        self.daemon.start()
        self._plane.kubectl.apply(_SERVICE, _ENDPOINTS)

    def wait_ready(self) -> None:
        """Wait until it listens."""

        def listens() -> bool:
            self.daemon.check()
            try:
                socket.create_connection((network.HOST_ADDRESS, 53), timeout=1).close()
            except OSError:
                return False
            return True

        wait_until(listens, 30, "CoreDNS to listen")


class ServiceProxy:
    """kube-proxy, one for the machine, since all nodes share its network."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._directory = leftovers.STATE / "service-proxy"
        argv = (str(binaries.program("kube-proxy")), f"--config={self._directory / 'kube-proxy.json'}")
        env = {leftovers.MARKER: "service-proxy"}
        self.daemon = Daemon("kube-proxy", argv, self._directory, env=env, detached=True)

    def start(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        kubeconfig = self._plane.kubeconfig_for("system:kube-proxy", ["system:node-proxier"])
        config = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "hostnameOverride": "node-0",
            "clusterCIDR": network.POD_RANGE,
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "conntrack": {"maxPerCore": 0},
            # An answer between two pods of one node would else cross the bridge past the translation.
            "nftables": {"masqueradeAll": True},
        }
        (self._directory / "kube-proxy.json").write_text(json.dumps(config, indent=1))
        self.daemon.start()
