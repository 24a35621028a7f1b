"""The headless Service that gives node-000, where the gang meets, its DNS name.

Nobody asks for the names of the others: they learn each other's addresses from the rendezvous. So a gang's
EndpointSlices have one address and are written once, not anew for every pod that starts.
"""

from __future__ import annotations

from detectron_operator import labels
from detectron_operator.api import TrainingJob
from detectron_operator.manifests import metadata
from detectron_operator.manifests.torchrun import METRICS_PORT, RENDEZVOUS_PORT


def service(job: TrainingJob) -> dict[str, object]:
    """Publishes the address before the pod is ready: the gang meets first and is ready afterwards."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(job, job.name),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": labels.of_node(job.name, 0),
            "ports": [
                {"name": "rendezvous", "port": RENDEZVOUS_PORT, "targetPort": "rendezvous"},
                {"name": "metrics", "port": METRICS_PORT, "targetPort": "metrics"},
            ],
        },
    }
