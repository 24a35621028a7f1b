"""A user's namespace: under the restricted Pod Security Standard, with the digits in a claim."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import storage
from tests.cluster.cluster import Cluster
from tests.cluster.kubectl import Kubectl

ROOT = Path(__file__).parents[2]
DATA, OUTPUT = "digits-data", "digits-output"


@contextmanager
def restricted(cluster: Cluster, namespace: str) -> Iterator[Kubectl]:
    """kubectl in a fresh namespace that takes restricted pods only; all is gone afterwards."""
    admin = cluster.kubectl
    admin("create", "namespace", namespace)
    try:
        admin("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
        yield Kubectl(cluster.kubeconfig, namespace)
    finally:
        admin("delete", "namespace", namespace, timeout=180)


@contextmanager
def with_digits(cluster: Cluster, namespace: str) -> Iterator[Kubectl]:
    """`restricted`, with the claims that the digits example names.

    The scheduler lets one pod at a time have the output: a gang runs only if its first pod alone asks for it.
    """
    with (
        restricted(cluster, namespace) as bound,
        storage.volume(cluster, namespace, DATA, "ReadWriteMany"),
        storage.volume(cluster, namespace, OUTPUT, "ReadWriteOncePod"),
    ):
        with tempfile.TemporaryDirectory(prefix="digits-") as data:
            maker = ROOT / "examples" / "digits" / "make_digits.py"
            subprocess.run([sys.executable, str(maker), "--output", data], check=True)
            with storage.shell(cluster, namespace, "loader", DATA, "/data"):
                bound("cp", f"{data}/.", "loader:/data", timeout=120)
        yield bound


@contextmanager
def workspace(cluster: Cluster, namespace: str) -> Iterator[Kubectl]:
    """`with_digits`, where the operator serves jobs; they and their pods are gone before the claims are."""
    with with_digits(cluster, namespace) as bound:
        yield bound
        bound("delete", "dtj", "--all", timeout=120)
        # The garbage collector takes its time, and pods write a last checkpoint.
        bound("delete", "pod", "--all", timeout=120)
