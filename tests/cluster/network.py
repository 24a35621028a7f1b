"""The pods' network: a bridge for each node, the host's routing between them, an address for what is shared.

10.244.<node>.0/24   the pods of a node; .1 is the bridge and the node's own address
10.244.255.1         API server and DNS, on the loopback link, so that they share no node's fate
10.96.0.0/16         services (kube-proxy)
"""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

from tests.cluster.command import run

POD_RANGE = "10.244.0.0/16"
HOST_ADDRESS = "10.244.255.1"
DNS_SERVICE = "10.96.0.10"
TABLE = "detectron-test-cluster"
_CUT = "detectron-test-cut"
_BRIDGE_PREFIX = "dtj-node-"
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
# Pods reach the world under the machine's address, and each other under their own.
_RULES = f"""
table ip {TABLE} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat
    ip saddr {POD_RANGE} ip daddr != {POD_RANGE} masquerade
  }}
}}
"""


def bridge(node: int) -> str:
    """The name of a node's bridge (at most 15 characters, the kernel's limit)."""
    return f"{_BRIDGE_PREFIX}{node}"


def node_address(node: int) -> str:
    return f"10.244.{node}.1"


def node_range(node: int) -> str:
    return f"10.244.{node}.0/24"


def create(nodes: int, former_forwarding: Path) -> None:
    """Make bridges, address and rules; note in `former_forwarding` whether the machine routed before."""
    former_forwarding.write_text(_FORWARDING.read_text())
    _FORWARDING.write_text("1")
    run("ip", "address", "replace", f"{HOST_ADDRESS}/32", "dev", "lo")
    for node in range(nodes):
        run("ip", "link", "add", bridge(node), "type", "bridge")
        run("ip", "address", "add", f"{node_address(node)}/24", "dev", bridge(node))
        run("ip", "link", "set", bridge(node), "up")
    run("nft", "-f", "-", stdin=_RULES)


def remove(former_forwarding: Path) -> None:
    """Remove what `create` and kube-proxy made, as far as it is there."""
    for name in bridges():
        run("ip", "link", "delete", name)
    if HOST_ADDRESS in _listed("ip", "-4", "address", "show", "dev", "lo"):
        run("ip", "address", "delete", f"{HOST_ADDRESS}/32", "dev", "lo")
    for family, table in tables():
        run("nft", "delete", "table", family, table)
    if former_forwarding.exists():
        _FORWARDING.write_text(former_forwarding.read_text())


def cut(nodes: int) -> None:
    """Drop every packet between pods of different nodes, until `heal`; what is shared stays in reach."""
    ranges = [node_range(node) for node in range(nodes)]
    rules = ["type filter hook forward priority filter - 10"]
    rules += [f"ip saddr {one} ip daddr {other} drop" for one, other in itertools.permutations(ranges, 2)]
    chain = "\n".join(rules)
    run("nft", "-f", "-", stdin=f"table ip {_CUT} {{\nchain forward {{\n{chain}\n}}\n}}\n")


def heal() -> None:
    """Let packets through again; nothing happens where none was held up."""
    if ("ip", _CUT) in tables():
        run("nft", "delete", "table", "ip", _CUT)


def bridges() -> list[str]:
    """The nodes' bridges that exist."""
    links = json.loads(_listed("ip", "-json", "link", "show", "type", "bridge") or "[]")
    names = (link.get("ifname", "") for link in links)
    return [name for name in names if name.startswith(_BRIDGE_PREFIX)]


def tables() -> list[tuple[str, str]]:
    """(family, name) of our nftables tables and of kube-proxy's."""
    listed = (line.split()[1:3] for line in _listed("nft", "list", "tables").splitlines())
    return [(family, name) for family, name in listed if name in (TABLE, _CUT, "kube-proxy")]


def _listed(*argv: str) -> str:
    """What a program lists; nothing where it is not installed, for then it has made nothing either."""
    return run(*argv) if shutil.which(argv[0]) else ""


def cni_config(node: int, addresses: Path) -> str:
    """The CNI configuration of a node; `addresses` is the folder in which pod addresses are given out."""
    ranges = {"type": "host-local", "dataDir": str(addresses), "ranges": [[{"subnet": node_range(node)}]]}
    plugin = {
        "type": "bridge",
        "bridge": bridge(node),
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {**ranges, "routes": [{"dst": "0.0.0.0/0"}]},
    }
    return json.dumps({"cniVersion": "0.4.0", "name": bridge(node), "plugins": [plugin]})
