"""What a job owns beside its pods, and so what any of its pods needs."""

from __future__ import annotations

from detectron_operator import names
from detectron_operator.api import TrainingJob
from detectron_operator.manifests.claim import output_claim
from detectron_operator.manifests.configmap import configmap
from detectron_operator.manifests.gang import pod_group
from detectron_operator.manifests.service import service
from detectron_operator.situation import Situation
from detectron_operator.steps import CreateChild, Event, Refusal


def mounted(job: TrainingJob) -> list[CreateChild]:
    """What a pod cannot start without."""
    found = [CreateChild("ConfigMap", job.name, configmap(job))]
    claim = output_claim(job)
    if claim is not None:
        name, new = names.output_claim(job.name), job.spec.output.new_claim
        retained = new is not None and new.retained
        found.append(CreateChild("PersistentVolumeClaim", name, claim, retained=retained))
    return found


def shared(job: TrainingJob) -> list[CreateChild]:
    """What a gang needs beside its pods: one that somebody deleted comes back with the next pod."""
    group = pod_group(job)
    return [
        CreateChild("Service", job.name, service(job)),
        *mounted(job),
        *([CreateChild("PodGroup", job.name, group)] if group else []),
    ]


def refused(s: Situation, refusal: Refusal | None) -> tuple[Event, ...]:
    """Told once a child is refused, and not at each try after it."""
    if refusal is None or refusal.reason == s.stored.reason:
        return ()
    return (Event(refusal.reason, refusal.words.bounded),)
