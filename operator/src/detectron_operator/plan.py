"""What to do next for a job: one pure function from what is observed to a plan that the engine executes.

The engine creates and deletes, then writes the status, then posts the events. It may die between any two of these:
the next plan, made from what is then observed, goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from detectron_operator import names
from detectron_operator.api import SpecError, TrainingJob
from detectron_operator.manifests.configmap import configmap
from detectron_operator.manifests.pod import pod
from detectron_operator.manifests.service import service
from detectron_operator.observed import Pod
from detectron_operator.progress import Progress


@dataclass(frozen=True)
class CreateChild:
    """A child to create; an answer of 409 is fine where the job's uid controls what is there."""

    kind: Literal["Pod", "Service", "ConfigMap"]
    name: str
    manifest: Mapping[str, object]


@dataclass(frozen=True)
class DeletePod:
    """A pod to delete, with its uid as precondition; None leaves it its own grace period."""

    name: str
    uid: str
    grace_seconds: int | None


@dataclass(frozen=True)
class Event:
    """An event to post about the job."""

    reason: str
    message: str
    type: Literal["Normal", "Warning"]


@dataclass(frozen=True)
class Plan:
    """The next step; an empty one means that all is as it should be.

    `status` is the complete desired status, None where it stands already. `requeue_after` is in seconds. `poll` is the
    address, ready for a URL, of the pod whose /progress to follow.
    """

    create: tuple[CreateChild, ...] = ()
    delete: tuple[DeletePod, ...] = ()
    status: Mapping[str, object] | None = None
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    poll: str | None = None


@dataclass(frozen=True)
class Defaults:
    """What the operator's settings say about every job; `progress_period` in seconds."""

    trainer_image: str
    progress_period: float = 5.0


@dataclass(frozen=True)
class Refusal:
    """Why the API server did not take a child: in `reason` one of the two below, in `message` its own words.

    After a create was refused the engine plans again with this, and writes only that plan's status.
    """

    reason: Literal["NameConflict", "CreateRefused"]
    message: str


def plan(
    job: TrainingJob,
    pods: Sequence[Pod],
    progress: Progress | None,
    now: datetime,
    defaults: Defaults,
    refusal: Refusal | None = None,
) -> Plan:
    """The next step for a job."""
    children = (
        CreateChild("Service", job.name, service(job)),
        CreateChild("ConfigMap", job.name, configmap(job)),
        *(
            CreateChild("Pod", names.pod_name(job.name, 0, i), pod(job, 0, i, defaults.trainer_image))
            for i in range(job.spec.num_nodes)
        ),
    )
    return Plan() if pods else Plan(create=children)


def plan_invalid(raw: Mapping[str, object], error: SpecError, now: datetime) -> Plan:
    """The step for an object that cannot be parsed: Failed with reason InvalidSpec, once."""
    return Plan(events=(Event("InvalidSpec", str(error), "Warning"),))
