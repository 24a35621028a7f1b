"""kubectl as a typed command."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import binaries


class KubectlError(RuntimeError):
    """kubectl answered with an error, which is the message."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl of the cluster's own version, bound to one kubeconfig."""

    kubeconfig: Path
    namespace: str | None = None

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 300) -> str:
        """Run kubectl and return its stdout.

        Raises:
            KubectlError: it failed; the message is its stderr.
        """
        where = ["--namespace", self.namespace] if self.namespace else []
        command = [str(binaries.program("kubectl")), "--kubeconfig", str(self.kubeconfig), *where, *arguments]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def get(self, *arguments: str) -> Any:
        """The parsed JSON of `kubectl get ... -o json`."""
        return json.loads(self("get", *arguments, "-o", "json"))

    def apply(self, *manifests: object) -> None:
        """Apply objects given as plain dictionaries."""
        self("apply", "-f", "-", stdin=_list(manifests))

    def would_apply(self, *manifests: object) -> None:
        """Have the API server judge objects as if they were applied; nothing changes.

        Raises:
            KubectlError: it would refuse one, or drop a field that it does not know.
        """
        flags = ("--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict")
        self("apply", *flags, "-f", "-", stdin=_list(manifests))

    def create(self, *manifests: object) -> None:
        """Create objects given as plain dictionaries."""
        self("create", "-f", "-", stdin=_list(manifests))


def _list(manifests: tuple[object, ...]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
