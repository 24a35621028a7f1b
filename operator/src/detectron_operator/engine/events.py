"""Kubernetes events about jobs, as `kubectl describe` shows them."""

from __future__ import annotations

from datetime import datetime

from detectron_operator import labels, names
from detectron_operator.kube.objects import Metadata, Object
from detectron_operator.plan import Event

LONGEST_MESSAGE = 1024
"""Characters that the API server takes."""


def manifest(job: Metadata, event: Event, now: datetime, instance: str) -> Object:
    """The object to create for an event.

    Args:
        job: of the job that it is about.
        instance: the operator's pod or host name.
    """
    at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{job.key.name}.", "namespace": job.key.namespace},
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "namespace": job.key.namespace,
            "name": job.key.name,
            "uid": job.uid,
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.message[:LONGEST_MESSAGE],
        "source": {"component": labels.OPERATOR},
        "reportingComponent": labels.OPERATOR,
        "reportingInstance": instance,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }
