"""One cgroup root for each node: two kubelets below one root would remove each other's pods."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from tests.cluster.daemon import Process
from tests.cluster.waiting import wait_until

_MOUNT = Path("/sys/fs/cgroup")
_NAME = re.compile(r"dtj-node-\d+")


def name(node: int) -> str:
    """The kubelet's `cgroupRoot` without its slash."""
    return f"dtj-node-{node}"


def create(node: int) -> None:
    """Make the node's cgroup below every controller."""
    for hierarchy in _hierarchies():
        group = hierarchy / name(node)
        group.mkdir(exist_ok=True)
        # A new cpuset of cgroup v1 has no processors, and nothing can run in it.
        for limit in ("cpuset.cpus", "cpuset.mems"):
            if hierarchy.name == "cpuset":
                (group / limit).write_text((hierarchy / limit).read_text())


def existing() -> list[Path]:
    """The folders of all nodes' cgroups."""
    return [group for top in _hierarchies() for group in top.iterdir() if _NAME.fullmatch(group.name)]


def processes(node: int | None = None) -> set[Process]:
    """Everything that runs in a node's cgroup, or in any node's."""
    pids = {
        int(pid)
        for group in existing()
        if node is None or group.name == name(node)
        for file in group.rglob("cgroup.procs")
        for pid in _pids(file)
    }
    return {process for pid in pids if (process := Process.of(pid))}


def remove() -> None:
    """Remove every node's cgroup; nothing may run in them any more."""
    for group in existing():
        children = sorted((p for p in group.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts))
        for folder in (*children, group):
            wait_until(functools.partial(_removed, folder), 10, f"{folder} to become empty")


def _hierarchies() -> list[Path]:
    """Where the kernel shows its cgroups: one tree (v2), or one for each controller (v1)."""
    if (_MOUNT / "cgroup.controllers").exists():
        return [_MOUNT]
    return [folder for folder in _MOUNT.iterdir() if folder.is_dir() and not folder.is_symlink()]


def _pids(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except (FileNotFoundError, OSError):  # removed meanwhile, or a threaded group, which has no such list
        return []


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # a dead process still leaves it
        return False
    return True
