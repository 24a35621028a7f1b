"""The immutable ConfigMap that carries the job's manifest into the pods."""

from __future__ import annotations

import json
from collections.abc import Mapping

from detectron_operator import names
from detectron_operator.api import TrainingJob
from detectron_operator.manifests import metadata

MANIFEST_KEY = "job.yaml"


def configmap(job: TrainingJob) -> dict[str, object]:
    """One for all attempts: what may change in a spec (`suspend`) is false wherever a pod reads it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(job, job.name),
        "immutable": True,
        "data": {MANIFEST_KEY: _manifest(job)},
    }


def _manifest(job: TrainingJob) -> str:
    run_policy = job.spec.document["runPolicy"]
    policy = dict(run_policy) if isinstance(run_policy, Mapping) else {}
    document = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": job.name, "namespace": job.namespace},
        "spec": {**job.spec.document, "runPolicy": {**policy, "suspend": False}},
    }
    return json.dumps(document, ensure_ascii=False, sort_keys=True)
