"""The claim that the operator makes for a job's output."""

from __future__ import annotations

from detectron_operator import names
from detectron_operator.api import TrainingJob
from detectron_operator.manifests import metadata


def output_claim_name(job: TrainingJob) -> str | None:
    """The claim that node 0 writes to, None where that is an emptyDir."""
    return names.output_claim(job.name) if job.spec.output.new_claim else job.spec.output.claim_name


def output_claim(job: TrainingJob) -> dict[str, object] | None:
    """The claim to make, None where the job makes none.

    A retained one has no owner, so that the garbage collector does not take it when the job goes.
    """
    asked = job.spec.output.new_claim
    if asked is None:
        return None
    described = metadata(job, names.output_claim(job.name))
    if asked.retained:
        del described["ownerReferences"]
    storage = {"storageClassName": asked.storage_class} if asked.storage_class else {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": described,
        "spec": {
            "accessModes": list(asked.access_modes),
            "resources": {"requests": {"storage": asked.size}},
            **storage,
        },
    }
