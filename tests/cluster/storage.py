"""Claims for the end-to-end tests: folders of this machine, or what another cluster's storage class gives."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.cluster import Cluster
from tests.cluster.images import BUSYBOX_IMAGE

ROOT = Path("/var/lib/detectron-test-volumes")
"""Folders that both nodes, being one machine, mount: the many-node volume of a real cluster."""


@contextmanager
def volume(cluster: Cluster, namespace: str, claim: str) -> Iterator[None]:
    """A claim of this name that pods on every node can mount, gone with its content afterwards."""
    folder = ROOT / namespace / claim
    name = f"{namespace}-{claim}"
    kubectl = cluster.kubectl
    request: dict[str, Any] = {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    if cluster.ours:
        shutil.rmtree(folder, ignore_errors=True)  # what a killed run left
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)
        reference = {"kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim}
        kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": name},
                "spec": {
                    "capacity": {"storage": "1Gi"},
                    "accessModes": ["ReadWriteMany"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "storageClassName": "",
                    "claimRef": reference,
                    "hostPath": {"path": str(folder), "type": "Directory"},
                },
            }
        )
        request["storageClassName"] = ""
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": claim, "namespace": namespace},
            "spec": request,
        }
    )
    try:
        yield
    finally:
        kubectl("delete", "pvc", claim, "--namespace", namespace, "--wait=false")
        if cluster.ours:
            kubectl("delete", "pv", name, "--wait=false")
            shutil.rmtree(folder)


def shell_pod(cluster: Cluster, name: str, claim: str, path: str) -> dict[str, Any]:
    """A pod that sleeps with a claim mounted at `path`, to copy files in and out."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "shell",
                    "image": BUSYBOX_IMAGE if cluster.ours else "busybox:1.37",
                    "command": ["sleep", "3600"],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "files", "mountPath": path}],
                }
            ],
            "volumes": [{"name": "files", "persistentVolumeClaim": {"claimName": claim}}],
        },
    }


@contextmanager
def shell(cluster: Cluster, namespace: str, name: str, claim: str, path: str) -> Iterator[None]:
    """`shell_pod` while the block runs, from its Ready on."""
    kubectl = cluster.kubectl
    manifest = shell_pod(cluster, name, claim, path)
    manifest["metadata"]["namespace"] = namespace
    kubectl.apply(manifest)
    try:
        kubectl(
            "wait",
            "--namespace",
            namespace,
            "--for=condition=Ready",
            f"pod/{name}",
            "--timeout=120s",
            timeout=130,
        )
        yield
    finally:
        kubectl("delete", "pod", name, "--namespace", namespace)
