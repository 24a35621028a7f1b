"""The immutable ConfigMap that carries the job's manifest into the pods."""

from __future__ import annotations

import json

from detectron_operator import names
from detectron_operator.api import TrainingJob
from detectron_operator.manifests import metadata

MANIFEST_KEY = "job.yaml"


def configmap(job: TrainingJob) -> dict[str, object]:
    """One for all attempts: without what may change and is none of a pod's business."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(job, job.name),
        "immutable": True,
        "data": {MANIFEST_KEY: _manifest(job)},
    }


def _manifest(job: TrainingJob) -> str:
    document = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": job.name, "namespace": job.namespace},
        "spec": {
            **{name: value for name, value in job.spec.document.items() if name != "runPolicy"},
            "numNodes": job.spec.elastic_policy.max_nodes,
        },
    }
    return json.dumps(document, ensure_ascii=False, sort_keys=True)
