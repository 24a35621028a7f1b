"""The Debian packages that the nodes, the images and the end-to-end tests are made of."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.cluster.command import run
from tests.cluster.console import say

PROMTOOL = "/usr/bin/promtool"
# A file that is there once the package is installed → the package. runc, since crun refuses hybrid cgroups.
PACKAGES = {
    "/usr/bin/containerd": "containerd",
    "/usr/sbin/runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "/usr/sbin/ip": "iproute2",
    "/usr/sbin/nft": "nftables",
    "/usr/sbin/iptables": "iptables",
    "/usr/sbin/conntrack": "conntrack",
    "/usr/bin/socat": "socat",
    "/usr/sbin/ethtool": "ethtool",
    "/usr/bin/busybox": "busybox-static",
    "/usr/bin/buildah": "buildah",
    "/usr/bin/mmdebstrap": "mmdebstrap",
    "/usr/bin/gcc": "gcc",
    "/usr/bin/prometheus": "prometheus",
    PROMTOOL: "prometheus",
}
# Only the programs of these are used; what was installed before, and may serve others, stays as it is.
_SERVICES = {"containerd", "prometheus"}


class MachineError(RuntimeError):
    """This machine cannot hold the test cluster."""


def install() -> None:
    """Install what is missing, with apt-get; none of the services in these packages is left running.

    Raises:
        MachineError: not root, or not Debian.
        CommandError: apt-get failed.
    """
    missing = sorted({package for file, package in PACKAGES.items() if not _installed(file)})
    if os.geteuid() != 0:
        raise MachineError(
            "the test cluster makes nodes, which needs root; or set KUBECONFIG to use another cluster"
        )
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise MachineError(f"this is not Debian (no apt-get), and these are missing: {', '.join(missing)}")
    say(f"installing {' '.join(missing)}")
    _apt("update")
    _apt("install", "--yes", "--no-install-recommends", *missing)
    if Path("/run/systemd/system").exists():
        for service in sorted(_SERVICES.intersection(missing)):
            run("systemctl", "disable", "--now", service)


def promtool() -> Path:
    """The path of promtool, installed with the other packages where it is missing.

    Raises:
        MachineError: it is missing and cannot be installed here.
    """
    if shutil.which("promtool") is None:
        install()
    return Path(shutil.which("promtool") or PROMTOOL)


def _installed(file: str) -> bool:
    # Debian's own paths, on a machine where /bin is not yet merged with /usr/bin.
    return Path(file).exists() or Path(file.removeprefix("/usr")).exists()


def _apt(*arguments: str) -> None:
    # In runlevel 1 the packages' scripts start no service.
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    run("apt-get", "-q", *arguments, env=env, timeout=1200)
