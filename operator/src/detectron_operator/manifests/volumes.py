"""What a job's pods mount, and where."""

from __future__ import annotations

import posixpath

from detectron_operator.api import TrainingJob
from detectron_operator.api.storage import Volume
from detectron_operator.manifests.claim import output_claim_name
from detectron_operator.manifests.code import code_mounts, code_volumes
from detectron_operator.manifests.configmap import MANIFEST_KEY
from detectron_operator.manifests.torchrun import MANIFEST_PATH, METRICS_TLS_PATH, OUTPUT_PATH

_SHARED_MEMORY_GI = 1
"""Shared memory a process: data-loader workers hand their batches over through it."""


def _holds_output(job: TrainingJob, index: int) -> bool:
    """Only node 0 mounts the claim, so that one ReadWriteOnce volume serves any number of nodes."""
    return index == 0 and output_claim_name(job) is not None


def mounts(job: TrainingJob, index: int) -> list[dict[str, object]]:
    """Those of one node's container."""
    output: dict[str, object] = {"name": "output", "mountPath": OUTPUT_PATH}
    if _holds_output(job, index):
        output["subPath"] = job.spec.output.sub_path or job.name
    return [
        {"name": "job", "mountPath": posixpath.dirname(MANIFEST_PATH), "readOnly": True},
        output,
        {"name": "shared-memory", "mountPath": "/dev/shm"},
        {"name": "tmp", "mountPath": "/tmp"},
        *code_mounts(job),
        *(_user_mount(volume) for volume in job.spec.volumes),
    ]


def _user_mount(volume: Volume) -> dict[str, object]:
    mount: dict[str, object] = {
        "name": _volume_name(volume),
        "mountPath": volume.mount_path,
        "readOnly": volume.read_only,
    }
    return mount | ({"subPath": volume.sub_path} if volume.sub_path else {})


def volumes(job: TrainingJob, index: int) -> list[dict[str, object]]:
    """Those of one node's pod."""
    shared_memory = f"{_SHARED_MEMORY_GI * job.spec.num_proc_per_node}Gi"
    return [
        {"name": "job", "projected": {"sources": _manifest_folder(job)}},
        {
            "name": "output",
            **(_claim(output_claim_name(job)) if _holds_output(job, index) else {"emptyDir": {}}),
        },
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": shared_memory}},
        {"name": "tmp", "emptyDir": {}},
        *code_volumes(job),
        *({"name": _volume_name(volume), **_claim(volume.claim_name)} for volume in job.spec.volumes),
    ]


def _manifest_folder(job: TrainingJob) -> list[dict[str, object]]:
    """What is in the manifest's folder: the manifest and, where there is one, the metrics' certificate."""
    manifest = {"key": MANIFEST_KEY, "path": posixpath.basename(MANIFEST_PATH)}
    sources: list[dict[str, object]] = [{"configMap": {"name": job.name, "items": [manifest]}}]
    if job.spec.metrics_tls_secret:
        folder = posixpath.basename(METRICS_TLS_PATH)
        items = [{"key": file, "path": f"{folder}/{file}"} for file in ("tls.crt", "tls.key")]
        sources.append({"secret": {"name": job.spec.metrics_tls_secret, "items": items}})
    return sources


def _claim(name: str | None) -> dict[str, object]:
    return {"persistentVolumeClaim": {"claimName": name}}


def _volume_name(volume: Volume) -> str:
    """Prefixed, so that a user's volume can have any name."""
    return f"user-{volume.name}"
