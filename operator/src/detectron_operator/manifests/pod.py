"""One pod of a gang, under the restricted Pod Security Standard.

It has no probes: peers resolve each other before anything could be ready, so readiness would gate nothing,
and a liveness probe would kill a gang for a slow data set.
"""

from __future__ import annotations

from collections.abc import Mapping

from detectron_operator import labels, names
from detectron_operator.api import TrainingJob
from detectron_operator.api.resources import Resources
from detectron_operator.manifests import metadata
from detectron_operator.manifests.environment import sources, variables
from detectron_operator.manifests.gang import pod_annotations, pod_labels
from detectron_operator.manifests.placement import placement
from detectron_operator.manifests.torchrun import (
    COMMAND,
    METRICS_PORT,
    RENDEZVOUS_PORT,
    TERMINATION_LOG,
    environment,
)
from detectron_operator.manifests.volumes import mounts, volumes

USER = 65532
"""The images' non-root user and group."""


def pod(
    job: TrainingJob,
    attempt: int,
    index: int,
    trainer_image: str,
    replacement: int = 0,
    *,
    annotated: bool = False,
) -> dict[str, object]:
    """The manifest of one pod.

    Args:
        job: whose pod it is.
        attempt: of the job.
        index: of the node.
        trainer_image: serves jobs that name no image of their own.
        replacement: how many pods of this index the attempt has lost.
        annotated: whether its annotations tell Prometheus where it serves metrics.
    """
    trainer = container(
        job,
        index,
        job.spec.image or trainer_image,
        COMMAND,
        environment(job, attempt, index),
        job.spec.resources,
    )
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(
            job,
            names.pod_name(job.name, attempt, index, replacement),
            labels.of_pod(job.name, attempt, index, replacement) | _scheme(job) | pod_labels(job, attempt),
            pod_annotations(job) | (_scraped(job) if annotated else {}),
        ),
        "spec": {
            **envelope(job, index),
            "hostname": names.hostname(index),
            "subdomain": job.name,
            "containers": [trainer | _serving(job)],
            **placement(job, attempt),
        },
    }


def envelope(job: TrainingJob, index: int) -> dict[str, object]:
    """What the pods of a job have in common, around a container with the mounts of node `index`."""
    secrets = [{"name": name} for name in job.spec.image_pull_secrets]
    account = job.spec.service_account
    return {
        "restartPolicy": "Never",
        **({"serviceAccountName": account} if account else {}),
        # A named account is for rights outside of the cluster, whose webhooks project a token of their own.
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
        "volumes": volumes(job, index),
        **({"imagePullSecrets": secrets} if secrets else {}),
    }


def container(
    job: TrainingJob,
    index: int,
    image: str,
    command: tuple[str, ...],
    ours: Mapping[str, str],
    resources: Resources,
) -> dict[str, object]:
    """A pod's one container; `ours` is the part of its environment that no user can name."""
    return {
        "name": names.CONTAINER,
        "image": image,
        "imagePullPolicy": job.spec.image_pull_policy,
        "command": list(command),
        "env": variables(job, ours),
        **sources(job),
        "resources": {"requests": dict(resources.requests), "limits": dict(resources.limits)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "volumeMounts": mounts(job, index),
    }


def _scheme(job: TrainingJob) -> dict[str, str]:
    return {labels.METRICS_SCHEME: "https"} if job.spec.metrics_tls_secret else {}


def _scraped(job: TrainingJob) -> dict[str, str]:
    """What a Prometheus that goes by annotations wants to know."""
    where = {"port": str(METRICS_PORT), "path": "/metrics", "scheme": _protocol(job).lower()}
    return {f"prometheus.io/{name}": value for name, value in ({"scrape": "true"} | where).items()}


def _protocol(job: TrainingJob) -> str:
    return "HTTPS" if job.spec.metrics_tls_secret else "HTTP"


def _serving(job: TrainingJob) -> dict[str, object]:
    return {
        "ports": [
            {"name": "rendezvous", "containerPort": RENDEZVOUS_PORT},
            {"name": "metrics", "containerPort": METRICS_PORT},
        ],
        # Tells a process that stands still from one that only we cannot reach.
        "readinessProbe": {
            "httpGet": {
                "path": "/healthz",
                "port": "metrics",
                "scheme": _protocol(job),
            },
            "periodSeconds": 5,
            "timeoutSeconds": 3,
            "failureThreshold": 2,
        },
    }
