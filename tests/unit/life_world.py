"""A model of the API server and the kubelets: pods by name, with uids, phases and deletions.

And of the operator's cache, which may lag behind: what the operator itself writes it knows at once, what
others do only when its watch tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from detectron_operator import labels
from detectron_operator.observed import Pod, observe_pod
from detectron_operator.plan import DeletePod
from tests.unit.operator_objects import RawObject, after, raw_pod, unreachable

TERMINAL = ("Succeeded", "Failed")
OWN_GRACE = 120
"""Seconds that a pod has to stop if whoever deletes it names none."""


@dataclass(frozen=True)
class Instance:
    """A pod that exists, of the gang or (`checks`) for the check; moments are the API server's seconds."""

    name: str
    uid: int
    attempt: int = 0
    index: int = 0
    replacement: int = 0
    checks: bool = False
    phase: str = "Pending"
    created: float = 0.0
    bound: bool = False
    stop_by: float | None = None
    grace: int = 0
    unreachable_since: float | None = None
    unready_since: float | None = None
    words: str | None = None
    disrupted: bool = False
    rejected: bool = False

    @property
    def deleting(self) -> bool:
        return self.stop_by is not None

    @property
    def alive(self) -> bool:
        return self.phase not in TERMINAL

    def is_lost(self, seconds: float) -> bool:
        """Whether nobody will let go of it, or nobody in time."""
        overdue = self.stop_by is not None and seconds > self.stop_by
        return overdue or (self.alive and self.unreachable_since is not None)

    def observed(self) -> Pod:
        """As the operator sees it."""
        ended: RawObject = {"exitCode": 0 if self.phase == "Succeeded" else 1}
        ended |= {} if self.words is None else {"message": self.words}
        raw = raw_pod(
            self.attempt,
            self.index,
            self.phase,
            terminated=None if self.alive or self.rejected else ended,
            conditions=self._conditions(),
            reason="OutOfcpu" if self.rejected else "",
            created=self.created,
        )
        if not self.bound and self.phase == "Pending":
            del raw["spec"]["nodeName"]
        raw["metadata"] |= {"name": self.name, "uid": f"pod-{self.uid}"}
        tags = raw["metadata"]["labels"]
        if self.replacement:
            tags[labels.REPLACEMENT] = str(self.replacement)
        if self.checks:
            tags[labels.ROLE] = labels.PREFLIGHT
        if self.stop_by is not None:
            raw["metadata"]["deletionTimestamp"] = after(self.stop_by).isoformat()
            raw["metadata"]["deletionGracePeriodSeconds"] = self.grace
        pod = observe_pod(raw)
        assert pod is not None
        return pod

    def _conditions(self) -> list[RawObject]:
        found: list[RawObject] = [
            {"type": "DisruptionTarget", "status": str(self.disrupted), "reason": "EvictionByEvictionAPI"}
        ]
        if self.unreachable_since is not None:
            return found + unreachable(self.unreachable_since)
        if self.unready_since is not None:
            moment = after(self.unready_since).isoformat()
            silent = {"status": "False", "reason": "ContainersNotReady", "lastTransitionTime": moment}
            return [*found, {"type": "Ready", **silent}]
        return found


class World:
    """The pods of one job, and what the operator knows of them."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.pods: dict[str, Instance] = {}
        self._cache: dict[str, Instance] | None = None
        self._uids = 0

    # What the operator does.

    def observed(self) -> list[Pod]:
        """Its cache."""
        return [pod.observed() for pod in (self.pods if self._cache is None else self._cache).values()]

    def fall_behind(self) -> None:
        """From now on the operator's watch is late."""
        self._cache = dict(self.pods) if self._cache is None else self._cache

    def tell_of(self, name: str) -> None:
        """The operator's watch comes to what happened to one pod."""
        if self._cache is not None:
            self._cache.pop(name, None)
            self._cache |= {name: self.pods[name]} if name in self.pods else {}

    def catch_up(self) -> None:
        """The operator's watch, or a list, tells all."""
        self._cache = None

    def create(self, manifest: Mapping[str, Any]) -> Instance:
        """Create a pod; one of this name that is there already is as good. The pod as it is."""
        name, tags = manifest["metadata"]["name"], manifest["metadata"]["labels"]
        if name not in self.pods:
            self._uids += 1
            self.pods[name] = Instance(
                name,
                self._uids,
                attempt=int(tags.get(labels.ATTEMPT, "0")),
                index=int(tags.get(labels.NODE_INDEX, "0")),
                replacement=int(tags.get(labels.REPLACEMENT, "0")),
                checks=tags.get(labels.ROLE) == labels.PREFLIGHT,
                created=self.seconds,
            )
        self.tell_of(name)
        return self.pods[name]

    def delete(self, asked: DeletePod) -> None:
        """Delete just this pod, if it is still there."""
        pod = self.pods.get(asked.name)
        if pod is None or f"pod-{pod.uid}" != asked.uid:
            return
        if asked.grace_seconds == 0:
            # By force: whoever still runs there is on their own. A node that came back may not be known yet.
            assert (pod if self._cache is None else self._cache[asked.name]).is_lost(self.seconds)
            del self.pods[asked.name]
        else:
            self.stop(asked.name, asked.grace_seconds or OWN_GRACE)
        self.tell_of(asked.name)

    # What the cluster does.

    def change(self, name: str, **fields: Any) -> None:
        """What the kubelet, or whoever, writes into a pod."""
        self.pods[name] = replace(self.pods[name], **fields)

    def stop(self, name: str, grace: int) -> None:
        """A pod is told to stop; a second time changes nothing, and one that has ended goes at once."""
        if self.pods[name].deleting:
            return
        if not self.pods[name].alive:
            del self.pods[name]
        else:
            self.change(name, stop_by=self.seconds + grace, grace=grace)

    def finish_deletions(self) -> None:
        """The kubelets let go of what was told to stop, where they are still heard."""
        stays = [p for p in self.pods.values() if not p.deleting or p.unreachable_since is not None]
        self.pods = {pod.name: pod for pod in stays}

    @property
    def gang(self) -> list[Instance]:
        """Pods that train, or did."""
        return [pod for pod in self.pods.values() if not pod.checks]
