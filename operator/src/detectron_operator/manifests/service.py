"""The headless Service that gives the gang's pods their DNS names."""

from __future__ import annotations

from detectron_operator import labels
from detectron_operator.api import TrainingJob
from detectron_operator.manifests import metadata
from detectron_operator.manifests.torchrun import METRICS_PORT, RENDEZVOUS_PORT


def service(job: TrainingJob) -> dict[str, object]:
    """Publishes addresses before pods are ready: they find each other first and are ready afterwards."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(job, job.name),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": labels.of_job(job.name),
            "ports": [
                {"name": "rendezvous", "port": RENDEZVOUS_PORT, "targetPort": "rendezvous"},
                {"name": "metrics", "port": METRICS_PORT, "targetPort": "metrics"},
            ],
        },
    }
