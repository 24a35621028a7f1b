"""The programs of the cluster, built by `go build` from the pinned modules in `tools/`."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import cache
from tests.cluster.console import say

TOOLS = Path(__file__).parent / "tools"


class GoError(RuntimeError):
    """Go is missing, too old, or could not build a tool."""


@dataclass(frozen=True)
class Tool:
    """One Go module in `tools/<name>` and the programs built from it (program name → Go package)."""

    name: str
    programs: dict[str, str]
    ldflags: str = "-s -w"
    tags: str = ""
    cold_minutes: int = 4

    @property
    def module(self) -> Path:
        return TOOLS / self.name

    def inputs(self) -> list[Path]:
        return sorted(file for file in self.module.iterdir() if file.name in ("go.mod", "go.sum", "main.go"))


# Without the version flags API server and clients fail on their own version string; the clients' copy is
# what user agents, and so audit logs, show.
_KUBE_VERSION = {
    "k8s.io/component-base/version.gitVersion": "v1.34.4",
    "k8s.io/component-base/version.gitMajor": "1",
    "k8s.io/component-base/version.gitMinor": "34",
    "k8s.io/client-go/pkg/version.gitVersion": "v1.34.4",
}
_KUBE_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
)
KUBE = Tool(
    "kube",
    {name: f"k8s.io/kubernetes/cmd/{name}" for name in _KUBE_PROGRAMS},
    ldflags=" ".join(["-s -w", *(f"-X {name}={value}" for name, value in _KUBE_VERSION.items())]),
    cold_minutes=12,
)
ALL = (
    KUBE,
    Tool("etcd", {"etcd": "."}, cold_minutes=2),
    Tool("coredns", {"coredns": "."}),
    Tool("kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}),
    Tool("helm", {"helm": "helm.sh/helm/v4/cmd/helm"}, cold_minutes=7),
    Tool("kueue", {"kueue": "sigs.k8s.io/kueue/cmd/kueue"}),
    # Debian's own build finds no targets through the API server: it is made without that discovery.
    Tool(
        "prometheus",
        {"prometheus": "github.com/prometheus/prometheus/cmd/prometheus"},
        tags="remove_all_sd,enable_kubernetes_sd",
        cold_minutes=5,
    ),
)
_TOOL_OF = {program: tool for tool in ALL for program in tool.programs}


@functools.cache
def program(name: str) -> Path:
    """The path of a program (`kubectl`, `etcd`, `helm`, ...), built now if the cache does not hold it.

    Raises:
        GoError: Go is missing, older than the module needs, or the build failed.
    """
    return build(_TOOL_OF[name]) / name


def build(tool: Tool) -> Path:
    """The folder with the tool's programs, from the cache or built into it."""
    tags = ["-tags", tool.tags] if tool.tags else []
    flags = ["-mod=readonly", "-trimpath", *tags, "-ldflags", tool.ldflags]
    key = cache.key([*flags, *sorted(tool.programs.values()), *tool.inputs()])
    return cache.entry(f"bin/{tool.name}", key, lambda folder: _go_build(tool, flags, folder))


def module_folder(tool: str, module: str) -> Path:
    """Where the sources of a module lie that a tool is built from: manifests come with them."""
    go = _go(_TOOL_OF[tool])
    env = os.environ | {"GOFLAGS": "", "GOWORK": "off", "GOTOOLCHAIN": "local"}
    command = [go, "mod", "download", "-json", module]
    done = subprocess.run(command, cwd=TOOLS / tool, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GoError(f"downloading {module} failed:\n{done.stdout}{done.stderr[-4000:]}")
    return Path(json.loads(done.stdout)["Dir"])


def _go_build(tool: Tool, flags: list[str], folder: Path) -> None:
    go = _go(tool)
    say(f"building {tool.name} (about {tool.cold_minutes} minutes the first time)")
    started = time.monotonic()
    env = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOTOOLCHAIN": "local"}
    for name, package in tool.programs.items():
        command = [go, "build", *flags, "-o", str(folder / name), package]
        done = subprocess.run(
            command, cwd=tool.module, env=env, stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            raise GoError(f"building {name} in {tool.module} failed:\n{done.stderr[-4000:]}")
    say(f"built {tool.name} in {time.monotonic() - started:.0f} s")


def _go(tool: Tool) -> str:
    """The `go` command, known to be new enough for the tool's go.mod."""
    go = shutil.which("go")
    if go is None:
        raise GoError(
            "go is not on PATH: install Go (https://go.dev/dl), it builds the test cluster's programs"
        )
    declared = re.search(r"^go (\S+)$", (tool.module / "go.mod").read_text(), re.MULTILINE)
    if declared is None:
        raise GoError(f"{tool.module}/go.mod has no go line")
    found = subprocess.run(
        [go, "env", "GOVERSION"],
        env=os.environ | {"GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    if _version(found.removeprefix("go")) < _version(declared[1]):
        raise GoError(f"{go} is {found}, but {tool.name} needs Go {declared[1]} or newer")
    return go


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])
