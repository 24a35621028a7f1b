"""The words of a plan: what can be asked of the engine, and what the engine tells of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from detectron_operator import reasons
from detectron_operator.reasons import Reason
from detectron_operator.status import Words


@dataclass(frozen=True)
class CreateChild:
    """A child to create; an answer of 409 is fine where the job's uid controls what is there.

    One that is `retained` outlives its job, without an owner: what an earlier job of the same name has left,
    known by its labels, is as good.
    """

    kind: Literal["Pod", "Service", "ConfigMap", "PodGroup", "PersistentVolumeClaim"]
    name: str
    manifest: Mapping[str, object]
    retained: bool = False


@dataclass(frozen=True)
class DeletePod:
    """A pod to delete, with its uid as precondition; None leaves it its own grace period."""

    name: str
    uid: str
    grace_seconds: int | None


@dataclass(frozen=True)
class Event:
    """An event to post about the job; `fatal` says that it tells of the job's failure."""

    reason: Reason
    message: str
    fatal: bool = False

    @property
    def type(self) -> Literal["Normal", "Warning"]:
        """As Kubernetes has it."""
        return reasons.event_type(self.reason, fatal=self.fatal)


@dataclass(frozen=True)
class Plan:
    """The next step; an empty one means that all is as it should be.

    `status` is the complete desired status, None where it stands already. `requeue_after` is in seconds.
    `poll` is the URL, up to the port, of the pod whose /progress to follow. `delete_job` asks for the
    deletion of the job itself, in just this version. `look_into` is the uid of a pod of which the events may
    say what it waits for: the plan is then made again with the words in that pod. `can_wait` says that
    nothing rests on the status, so that in a rush of jobs it may be told later.
    """

    create: tuple[CreateChild, ...] = ()
    delete: tuple[DeletePod, ...] = ()
    status: Mapping[str, object] | None = None
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    poll: str | None = None
    delete_job: bool = False
    look_into: str | None = None
    can_wait: bool = False


@dataclass(frozen=True)
class Defaults:
    """What the operator's settings say about every job; `progress_period` in seconds."""

    trainer_image: str
    progress_period: float = 5.0
    annotate_for_prometheus: bool = False


@dataclass(frozen=True)
class Refusal:
    """Why the API server did not take a child; `message` has its own words.

    After a create was refused the engine plans again with this and executes only that plan's status. The next
    plan without it tries the create again.
    """

    reason: Reason
    message: str

    @property
    def words(self) -> Words:
        """As a status tells it."""
        return Words(reason=self.reason, message=self.message)
