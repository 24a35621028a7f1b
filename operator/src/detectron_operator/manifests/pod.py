"""One pod of a gang, under the restricted Pod Security Standard.

It has no probes: peers resolve each other before anything could be ready, so readiness would gate nothing,
and a liveness probe would kill a gang for a slow data set.
"""

from __future__ import annotations

import posixpath

from detectron_operator import labels, names
from detectron_operator.api import TrainingJob
from detectron_operator.api.storage import Volume
from detectron_operator.manifests import metadata
from detectron_operator.manifests.claim import output_claim_name
from detectron_operator.manifests.code import code_mounts, code_volumes
from detectron_operator.manifests.configmap import MANIFEST_KEY
from detectron_operator.manifests.environment import sources, variables
from detectron_operator.manifests.gang import pod_annotations, pod_labels
from detectron_operator.manifests.placement import placement
from detectron_operator.manifests.torchrun import (
    COMMAND,
    MANIFEST_PATH,
    METRICS_PORT,
    METRICS_TLS_PATH,
    OUTPUT_PATH,
    RENDEZVOUS_PORT,
    TERMINATION_LOG,
)

USER = 65532
"""The images' non-root user and group."""

_SHARED_MEMORY_GI = 1
"""Shared memory a process: data-loader workers hand their batches over through it."""


def pod(
    job: TrainingJob, attempt: int, index: int, trainer_image: str, replacement: int = 0
) -> dict[str, object]:
    """The manifest of one pod; `trainer_image` serves jobs that name no image of their own."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(
            job,
            names.pod_name(job.name, attempt, index, replacement),
            labels.of_pod(job.name, attempt, index, replacement) | _scheme(job) | pod_labels(job, attempt),
            pod_annotations(job),
        ),
        "spec": {
            "restartPolicy": "Never",
            "hostname": names.hostname(index),
            "subdomain": job.name,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": job.spec.grace_period_seconds,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container(job, attempt, index, trainer_image)],
            "volumes": _volumes(job, index),
            **_pull_secrets(job),
            **placement(job, attempt),
        },
    }


def _scheme(job: TrainingJob) -> dict[str, str]:
    return {labels.METRICS_SCHEME: "https"} if job.spec.metrics_tls_secret else {}


def _pull_secrets(job: TrainingJob) -> dict[str, object]:
    secrets = [{"name": name} for name in job.spec.image_pull_secrets]
    return {"imagePullSecrets": secrets} if secrets else {}


def _container(job: TrainingJob, attempt: int, index: int, trainer_image: str) -> dict[str, object]:
    return {
        "name": names.CONTAINER,
        "image": job.spec.image or trainer_image,
        "imagePullPolicy": job.spec.image_pull_policy,
        "command": list(COMMAND),
        "env": variables(job, attempt, index),
        **sources(job),
        "ports": [
            {"name": "rendezvous", "containerPort": RENDEZVOUS_PORT},
            {"name": "metrics", "containerPort": METRICS_PORT},
        ],
        "resources": {
            "requests": dict(job.spec.resources.requests),
            "limits": dict(job.spec.resources.limits),
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # Tells a process that stands still from one that only we cannot reach.
        "readinessProbe": {
            "httpGet": {
                "path": "/healthz",
                "port": "metrics",
                "scheme": "HTTPS" if job.spec.metrics_tls_secret else "HTTP",
            },
            "periodSeconds": 5,
            "timeoutSeconds": 3,
            "failureThreshold": 2,
        },
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "volumeMounts": _mounts(job, index),
    }


def _holds_output(job: TrainingJob, index: int) -> bool:
    """Only node 0 mounts the claim, so that one ReadWriteOnce volume serves any number of nodes."""
    return index == 0 and output_claim_name(job) is not None


def _mounts(job: TrainingJob, index: int) -> list[dict[str, object]]:
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


def _volumes(job: TrainingJob, index: int) -> list[dict[str, object]]:
    shared_memory = f"{_SHARED_MEMORY_GI * job.spec.num_proc_per_node}Gi"
    return [
        {"name": "job", "projected": {"sources": _sources(job)}},
        {
            "name": "output",
            **(_claim(output_claim_name(job)) if _holds_output(job, index) else {"emptyDir": {}}),
        },
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": shared_memory}},
        {"name": "tmp", "emptyDir": {}},
        *code_volumes(job),
        *({"name": _volume_name(volume), **_claim(volume.claim_name)} for volume in job.spec.volumes),
    ]


def _sources(job: TrainingJob) -> list[dict[str, object]]:
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
