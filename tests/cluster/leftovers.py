"""Everything that the cluster is on this machine, found by name and removed, whoever left it.

Bridges, cgroups and tables have fixed names, daemons and shims carry `MARKER` in their environment, and all
files and mounts are below `STATE`: so the cluster of a killed run or of another checkout is found as well.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from tests.cluster import cgroups, network
from tests.cluster.command import run
from tests.cluster.daemon import Process
from tests.cluster.waiting import wait_until

# One machine holds one cluster, because its bridges and ports are the machine's; so the folder is fixed too.
STATE = Path("/var/lib/detectron-test-cluster")
MARKER = "DETECTRON_TEST_CLUSTER"
FORMER_FORWARDING = STATE / "ip_forward"
# Folders that kubelet, containerd and CNI use whatever they are told.
_CONTAINER_LOGS = Path("/var/log/containers")
_CNI_RESULTS = Path("/var/lib/cni/results")
_SHIM_SOCKETS = Path("/run/containerd/s")
_DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")
DEVICE_PLUGIN_SOCKET = _DEVICE_PLUGINS / "kubelet.sock"


def found() -> list[str]:
    """A line for each thing of the cluster on this machine; empty when there is none."""
    return [
        *(f"process {process.pid}" for process in sorted(_processes(), key=lambda p: p.pid)),
        *(f"mount {mount}" for mount in _mounts()),
        *(f"cgroup {group}" for group in cgroups.existing()),
        *(f"bridge {bridge}" for bridge in network.bridges()),
        *(f"nftables table {family} {name}" for family, name in network.tables()),
        *(f"file {file}" for file in _files() if file.exists() or file.is_symlink()),
    ]


def remove() -> None:
    """Remove all of it; does nothing where there is nothing.

    Raises:
        TimeoutError, CommandError: something would not go; the message names it.
    """
    _kill(_processes)
    files = _files()  # the shims' sockets are named in files below a mount's folder
    for mount in reversed(_mounts()):
        # Lazily: the kernel may still be closing the files of a process that has just died.
        run("umount", "--lazy", mount)
    cgroups.remove()
    network.remove(FORMER_FORWARDING)
    for file in files:
        shutil.rmtree(file) if file.is_dir() and not file.is_symlink() else file.unlink(missing_ok=True)
    for shared in (_CONTAINER_LOGS, _CNI_RESULTS, _SHIM_SOCKETS, _DEVICE_PLUGINS):
        for folder in (shared, shared.parent):
            if folder.name != "log" and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def kill_node(name: str, index: int) -> None:
    """End a node as a power cut does: its daemons, shims and containers die, and what was mounted is gone."""
    _kill(lambda: _marked(name) | cgroups.processes(index))
    for mount in reversed(_mounts()):
        if Path(mount).is_relative_to(STATE / name):
            run("umount", "--lazy", mount)
    shutil.rmtree(STATE / name / "containerd" / "state")


def _processes() -> set[Process]:
    """The daemons, the containers' shims, and all that runs in containers."""
    return _marked() | cgroups.processes()


def _marked(value: str = "") -> set[Process]:
    """The processes that have MARKER in their environment, with this value or with any."""
    wanted = f"{MARKER}={value}".encode()
    marked: set[Process] = set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):  # gone, or not even root's to read
            continue
        process = Process.of(int(folder.name))
        if process and any(variable.startswith(wanted) for variable in environment):
            marked.add(process)
    return marked


def _kill(find: Callable[[], set[Process]]) -> None:
    """Kill all that `find` finds until it finds nothing, for what runs may start more."""

    def none_left() -> bool:
        processes = find()
        for process in processes:
            process.send(signal.SIGKILL)
        return not processes

    wait_until(none_left, 20, "the cluster's processes to die")


def _mounts() -> list[str]:
    """The mount points below STATE, in the order in which they were mounted."""
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [point for point in points if Path(point).is_relative_to(STATE)]


def _files() -> list[Path]:
    """The state folder, and what is ours in the shared folders."""
    addresses = STATE.glob("*/containerd/state/io.containerd.runtime.v2.task/k8s.io/*/address")
    sockets = {Path(file.read_text().strip().removeprefix("unix://")) for file in addresses}
    links = _CONTAINER_LOGS.glob("*.log") if _CONTAINER_LOGS.is_dir() else ()
    return [
        *(socket for socket in sockets if socket.is_relative_to(_SHIM_SOCKETS)),
        *(link for link in links if link.is_symlink() and link.readlink().is_relative_to(STATE)),
        *_CNI_RESULTS.glob("dtj-node-*"),
        *([STATE] if STATE.exists() else []),
    ]
