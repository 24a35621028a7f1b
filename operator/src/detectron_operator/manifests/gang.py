"""How a gang scheduler recognises the pods of a gang.

Kueue is told by the pods' own metadata: it holds them back by a scheduling gate until the quota has room for
all. Volcano and Coscheduling read a PodGroup, which counts how many must be bound together.
"""

from __future__ import annotations

from decimal import Decimal

from detectron_operator import names
from detectron_operator.api import TrainingJob
from detectron_operator.api.scheduling import Coscheduling, Kueue, Volcano
from detectron_operator.manifests import metadata
from detectron_operator.quantity import parse_quantity

_KUEUE = "kueue.x-k8s.io"


def scheduler_name(job: TrainingJob) -> str | None:
    """The scheduler of the pods, None for the cluster's own."""
    scheduling = job.spec.gang_scheduling
    return scheduling.scheduler_name if isinstance(scheduling, Volcano | Coscheduling) else None


def pod_labels(job: TrainingJob, attempt: int) -> dict[str, str]:
    """Labels that make a pod one of its gang."""
    match job.spec.gang_scheduling:
        case Kueue(queue=queue, workload_priority_class=priority):
            labels = {
                f"{_KUEUE}/queue-name": queue,
                # A group an attempt: of a group that has ended Kueue admits no further pods.
                f"{_KUEUE}/pod-group-name": names.pod_group(job.name, attempt),
            }
            return labels | ({f"{_KUEUE}/priority-class": priority} if priority else {})
        case Coscheduling():
            return {"scheduling.x-k8s.io/pod-group": job.name}
    return {}


def pod_annotations(job: TrainingJob) -> dict[str, str]:
    """Annotations that make a pod one of its gang."""
    match job.spec.gang_scheduling:
        case Kueue():
            return {
                f"{_KUEUE}/pod-group-total-count": str(job.spec.num_nodes),
                # Else Kueue keeps the quota of a failed gang for replacements, which never come.
                f"{_KUEUE}/retriable-in-group": "false",
            }
        case Volcano():
            return {"scheduling.k8s.io/group-name": job.name}
    return {}


def pod_group(job: TrainingJob) -> dict[str, object] | None:
    """The PodGroup that the gang's scheduler reads, None where it reads none; one for all attempts."""
    size = job.spec.num_nodes
    spec: dict[str, object] = {"minMember": size, "minResources": _of_pods(job, size)}
    match job.spec.gang_scheduling:
        case Volcano(queue=queue):
            version = "scheduling.volcano.sh/v1beta1"
            spec |= {"queue": queue} if queue else {}
            spec |= _priority(job)
        case Coscheduling(schedule_timeout_seconds=timeout):
            version = "scheduling.x-k8s.io/v1alpha1"
            spec["scheduleTimeoutSeconds"] = timeout
        case _:
            return None
    return {"apiVersion": version, "kind": "PodGroup", "metadata": metadata(job, job.name), "spec": spec}


def _priority(job: TrainingJob) -> dict[str, object]:
    priority = job.spec.placement.priority_class
    return {"priorityClassName": priority} if priority else {}


def _of_pods(job: TrainingJob, count: int) -> dict[str, str]:
    """What so many pods request together; where a pod names only a limit, that is its request."""
    each = {**job.spec.resources.limits, **job.spec.resources.requests}
    return {name: _written(parse_quantity(amount) * count) for name, amount in each.items()}


def _written(amount: Decimal) -> str:
    return f"{amount.normalize():f}"
