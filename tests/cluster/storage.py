"""Claims for the end-to-end tests: folders of this machine, or what another cluster's storage class gives."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tests.cluster.cluster import Cluster
from tests.cluster.images import BUSYBOX_IMAGE

ROOT = Path("/var/lib/detectron-test-volumes")
"""Folders that both nodes, being one machine, mount; who may is what the access mode of a claim says."""


@contextmanager
def provisioned(cluster: Cluster, namespace: str, claim: str, access: str) -> Iterator[None]:
    """What a storage class makes for a claim: a folder of this machine, gone with its content afterwards.

    `access` is the mode that the claim asks for.
    """
    folder = ROOT / namespace / claim
    shutil.rmtree(folder, ignore_errors=True)  # what a killed run left
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    name = f"{namespace}-{claim}"
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": [access],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
        "claimRef": {"kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim},
        "hostPath": {"path": str(folder), "type": "Directory"},
    }
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
    cluster.kubectl.apply(volume)
    try:
        yield
    finally:
        cluster.kubectl("delete", "pv", name, "--wait=false")
        shutil.rmtree(folder)


@contextmanager
def volume(cluster: Cluster, namespace: str, claim: str, access: str) -> Iterator[None]:
    """A claim of this name and access mode, gone with its content afterwards."""
    request: dict[str, Any] = {
        "accessModes": [access],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    with provisioned(cluster, namespace, claim, access) if cluster.ours else nullcontext():
        if cluster.ours:
            request["storageClassName"] = ""
        metadata = {"name": claim, "namespace": namespace}
        kind = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        cluster.kubectl.apply({**kind, "metadata": metadata, "spec": request})
        try:
            yield
        finally:
            cluster.kubectl("delete", "pvc", claim, "--namespace", namespace, "--wait=false")


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
