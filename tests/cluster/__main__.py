"""`python -m tests.cluster`: the test cluster by hand."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tests.cluster import binaries, cluster, images, packages
from tests.cluster.command import CommandError
from tests.cluster.daemon import DaemonError
from tests.cluster.kubectl import KubectlError
from tests.cluster.packages import MachineError

_EXPECTED = (
    binaries.GoError,
    cluster.ClusterError,
    CommandError,
    DaemonError,
    KubectlError,
    MachineError,
    TimeoutError,
)
_TOOLS = {tool.name: functools.partial(binaries.build, tool) for tool in binaries.ALL}
_IMAGES = {image.__name__: image for image in (images.pause, images.busybox, images.operator, images.trainer)}
_BUILDS: dict[str, Callable[[], Path]] = {**_TOOLS, **_IMAGES, "promtool": packages.promtool}


def main() -> int:
    """Run one command; 1 if it failed or, for `status`, if something does not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the two-node cluster, or say that it runs")
    commands.add_parser("down", help="remove it and everything that it left on this machine")
    commands.add_parser("status", help="what runs and what does not")
    commands.add_parser("kubeconfig", help="print the path of its kubeconfig")
    build = commands.add_parser("build", help="build programs and images into the cache")
    every = ", ".join(_BUILDS)
    build.add_argument("what", nargs="*", default=list(_BUILDS), help=f"some of {every}; all by default")
    load = commands.add_parser("load-image", help="import images into every node")
    load.add_argument("image", nargs="+", help=f"a docker-archive, or one built here: {', '.join(_IMAGES)}")
    kubectl = commands.add_parser("kubectl", help="run the cluster's own kubectl")
    kubectl.add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    try:
        return _run(given)
    except _EXPECTED as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(given: argparse.Namespace) -> int:
    match given.command:
        case "up":
            cluster.up()
        case "down":
            cluster.down()
        case "status":
            return _status()
        case "kubeconfig":
            print(cluster.KUBECONFIG)
        case "build":
            return _build(given.what)
        case "load-image":
            cluster.connect().load_image(*map(_archive, given.image))
        case "kubectl":
            program = str(binaries.program("kubectl"))
            arguments = given.arguments[1:] if given.arguments[:1] == ["--"] else given.arguments
            os.execv(program, [program, "--kubeconfig", str(cluster.KUBECONFIG), *arguments])
    return 0


def _build(names: list[str]) -> int:
    if unknown := [name for name in names if name not in _BUILDS]:
        print(
            f"error: nothing here is called {', '.join(unknown)}; try {', '.join(_BUILDS)}", file=sys.stderr
        )
        return 1
    if not {*_TOOLS, "promtool"} >= set(names):
        packages.install()
    for name in names:
        print(_BUILDS[name]())
    return 0


def _archive(image: str) -> Path:
    return _IMAGES[image]() if image in _IMAGES else Path(image)


def _status() -> int:
    parts = cluster.status()
    for name, state in parts.items():
        print(f"{name:26} {state}")
    if not parts:
        print("there is no cluster on this machine")
    whole = parts and all(state == "ready" or state.startswith("running") for state in parts.values())
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
