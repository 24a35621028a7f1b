"""Children of a job, rendered by pure functions: the same job and attempt give the same manifests."""

from __future__ import annotations

from collections.abc import Mapping

from detectron_operator import labels, names
from detectron_operator.api import TrainingJob


def metadata(
    job: TrainingJob,
    name: str,
    tags: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """Metadata of a child: the job controls it, so the garbage collector deletes it with the job.

    Without blockOwnerDeletion, which some clusters grant only to who may write the job's finalizers.
    """
    return {
        "name": name,
        "namespace": job.namespace,
        "labels": dict(tags or labels.of_job(job.name)),
        **({"annotations": dict(annotations)} if annotations else {}),
        "ownerReferences": [
            {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "name": job.name,
                "uid": job.uid,
                "controller": True,
            }
        ],
    }
