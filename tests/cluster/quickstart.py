"""The README's commands on a cluster, as a user pastes them into a shell."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import binaries

ROOT = Path(__file__).parents[2]
_STEP = re.compile(r"^<!-- step: (\w+) -->\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def steps(markdown: str) -> dict[str, str]:
    """The commands that stand under `<!-- step: name -->`, by name, in their order."""
    return dict(_STEP.findall(markdown))


def built(commands: str) -> dict[str, str]:
    """The Dockerfiles that `docker build` is given, by the names of their images."""
    words = [shlex.split(line, comments=True) for line in commands.splitlines()]
    builds = [line for line in words if line[:2] == ["docker", "build"]]
    return {line[line.index("-t") + 1]: line[line.index("-f") + 1] for line in builds}


@dataclass
class Shell:
    """A user's shell in a folder with the checkout's content; `seconds` are those of the steps that ran."""

    folder: Path
    kubeconfig: Path
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("charts", "examples"):
            (self.folder / name).symlink_to(ROOT / name)
        programs = self.folder / "bin"
        programs.mkdir()
        for name in ("kubectl", "helm"):
            (programs / name).symlink_to(binaries.program(name))
        python = programs / "python"
        python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        python.chmod(0o755)

    def run(self, name: str, commands: str) -> None:
        """Run the commands of a step, up to the first that fails.

        Raises:
            subprocess.CalledProcessError: one failed.
        """
        began = time.monotonic()
        subprocess.run(self._argv(commands), cwd=self.folder, env=self._environment(), check=True)
        self.seconds[name] = time.monotonic() - began

    def start(self, commands: str, output: Path) -> subprocess.Popen[bytes]:
        """Start commands that do not end by themselves, as a process group, with their output in a file."""
        with output.open("wb") as file:
            argv, environment = self._argv(commands), self._environment()
            return subprocess.Popen(
                argv, cwd=self.folder, env=environment, stdout=file, start_new_session=True
            )

    def _argv(self, commands: str) -> list[str]:
        return ["bash", "-euc", commands]

    def _environment(self) -> Mapping[str, str]:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "KUBECONFIG": str(self.kubeconfig)}
