"""Pods as the plan sees them: the few facts of a raw pod on which decisions rest."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from detectron_operator import labels, names, shape
from detectron_operator.shape import ShapeError

_PATIENCE = frozenset({"ContainerCreating", "PodInitializing"})
"""Waiting reasons of a pod that is merely on its way."""

_SIGNALLED = 128
_LAST_SIGNAL = 64

_BACK_OFF = re.compile(r'Back-off pulling image "[^"]*": (?:ErrImagePull: )?')


@dataclass(frozen=True, kw_only=True)
class Pod:
    """One pod of a gang, the `replacement`-th at its index in this attempt.

    Or, with `preflight`, the pod that checks the job before its gang exists; it has no attempt and no index.

    `phase` is the pod's own (Pending, Running, Succeeded, Failed, Unknown). `reason` and `message` are the
    scheduler's or kubelet's words where it is stuck or has failed. `disruption` names who took it away
    (eviction, preemption, taint, node shutdown), which is no failure of the job. `conditions` are the types
    of those that are true.
    """

    namespace: str
    name: str
    uid: str
    created: datetime
    job: str
    job_uid: str
    preflight: bool
    attempt: int
    index: int
    replacement: int
    phase: str
    ready: bool
    stop_by: datetime | None
    grace_seconds: int | None
    unreachable_since: datetime | None
    unready_since: datetime | None
    unprepared_since: datetime | None
    node: str
    ip: str | None
    exit_code: int | None
    termination_message: str | None
    reason: str | None
    message: str | None
    disruption: str | None
    conditions: frozenset[str]

    @property
    def deleting(self) -> bool:
        """Whether somebody has deleted it: it is to be gone by `stop_by`, after `grace_seconds`."""
        return self.stop_by is not None

    @property
    def signal(self) -> str | None:
        """The signal that ended it, by its exit code, as shells count."""
        number = (self.exit_code or 0) - _SIGNALLED
        if not 0 < number <= _LAST_SIGNAL:
            return None
        named = number in signal.valid_signals() and not signal.SIGRTMIN <= number <= signal.SIGRTMAX
        return signal.Signals(number).name if named else f"SIG{number}"

    @property
    def alive(self) -> bool:
        """Whether its processes may still run; on a lost node nobody knows, so Unknown counts as alive."""
        return self.phase not in ("Succeeded", "Failed")

    def is_behind(self, other: Pod) -> bool:
        """Whether it has yet to come as far as another of its gang that starts as it does."""
        return self.attempt == other.attempt and self._progress < other._progress

    @property
    def _progress(self) -> tuple[bool, bool, bool]:
        return bool(self.node), self.phase != "Pending", self.ready


def observe_pod(raw: Mapping[str, object]) -> Pod | None:
    """The facts of a raw pod; None where it is no pod of a DetectronTrainingJob."""
    try:
        metadata = shape.mapping(raw.get("metadata"), "metadata")
        tags = shape.mapping(metadata.get("labels") or {}, "metadata.labels")
        owner = _controller(metadata)
        if owner is None or tags.get(labels.MANAGED_BY) != labels.OPERATOR:
            return None
        spec = shape.mapping(raw.get("spec") or {}, "spec")
        status = shape.mapping(raw.get("status") or {}, "status")
        state = _container_state(status)
        terminated = _mapping(state, "terminated")
        reason, message = _words(status, state)
        preflight = tags.get(labels.ROLE) == labels.PREFLIGHT
        return Pod(
            namespace=_text(metadata, "namespace") or "",
            name=_text(metadata, "name") or "",
            uid=_text(metadata, "uid") or "",
            created=shape.time(metadata.get("creationTimestamp"), "metadata.creationTimestamp"),
            job=_text(owner, "name") or "",
            job_uid=_text(owner, "uid") or "",
            preflight=preflight,
            attempt=0 if preflight else _label_number(tags, labels.ATTEMPT),
            index=0 if preflight else _label_number(tags, labels.NODE_INDEX),
            replacement=_label_number(tags, labels.REPLACEMENT) if labels.REPLACEMENT in tags else 0,
            phase=_text(status, "phase") or "Pending",
            ready=_condition(status, "Ready").get("status") == "True",
            stop_by=_time(metadata, "deletionTimestamp"),
            grace_seconds=_number(metadata, "deletionGracePeriodSeconds"),
            unreachable_since=_unreachable_since(metadata, status),
            unready_since=_unready_since(status),
            unprepared_since=_unprepared_since(status),
            node=_text(spec, "nodeName") or "",
            ip=_text(status, "podIP"),
            exit_code=_number(terminated, "exitCode"),
            termination_message=_text(terminated, "message"),
            reason=reason,
            message=message,
            disruption=_disruption(status),
            conditions=_true_conditions(status),
        )
    except ShapeError:
        # Whoever can label and own a pod like ours can write nonsense into it; it is then no pod of ours.
        return None


def _controller(metadata: Mapping[str, object]) -> Mapping[str, object] | None:
    for owner in _mappings(metadata, "ownerReferences"):
        group = str(owner.get("apiVersion", "")).partition("/")[0]
        if owner.get("controller") is True and group == names.GROUP and owner.get("kind") == names.KIND:
            return owner
    return None


def _words(status: Mapping[str, object], state: Mapping[str, object]) -> tuple[str | None, str | None]:
    """Reason and message, the most specific source first."""
    if _text(status, "reason"):
        return _text(status, "reason"), _text(status, "message")
    terminated = _mapping(state, "terminated")
    if terminated:
        return _text(terminated, "reason"), None
    waiting = _mapping(state, "waiting")
    reason = _text(waiting, "reason")
    if reason in ("ErrImagePull", "ImagePullBackOff"):
        # The kubelet alternates between the two while the image is missing; the cause is one and the same.
        return "ErrImagePull", _BACK_OFF.sub("", _text(waiting, "message") or "") or None
    if reason and reason not in _PATIENCE:
        return reason, _text(waiting, "message")
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return _text(scheduled, "reason"), _text(scheduled, "message")
    return None, None


def _disruption(status: Mapping[str, object]) -> str | None:
    """Who took the pod away; an eviction by the kubelet for overuse is the job's own failure and not one."""
    condition = _condition(status, "DisruptionTarget")
    if condition.get("status") != "True" or status.get("reason") == "Evicted":
        return None
    return _text(condition, "reason") or "DisruptionTarget"


def _unreachable_since(metadata: Mapping[str, object], status: Mapping[str, object]) -> datetime | None:
    """Since when the node lifecycle controller hears nothing of the pod's node, None where it does.

    It then makes the pod not ready and leaves the rest as it was. A kubelet never says so: its pods are ready
    with their containers, or name a reason. Where the kubelet's last word was that the pod is not ready, only
    its eviction tells.
    """
    ready = _condition(status, "Ready")
    silent = not ready.get("reason") and _condition(status, "ContainersReady").get("status") == "True"
    if ready.get("status") != "False" or not (silent or _evicted_by_taint(metadata, status)):
        return None
    return _time(ready, "lastTransitionTime")


def _evicted_by_taint(metadata: Mapping[str, object], status: Mapping[str, object]) -> bool:
    return (
        metadata.get("deletionTimestamp") is not None
        and _condition(status, "DisruptionTarget").get("reason") == "DeletionByTaintManager"
    )


def _unprepared_since(status: Mapping[str, object]) -> datetime | None:
    """Since when a node has the pod and has not prepared its volumes and network, None where it has."""
    prepared = _condition(status, "PodReadyToStartContainers")
    if status.get("phase") != "Pending" or prepared.get("status") != "False":
        return None
    return _time(prepared, "lastTransitionTime")


def _unready_since(status: Mapping[str, object]) -> datetime | None:
    """Since when the kubelet gets no answer from a container that runs, None where it does."""
    ready = _condition(status, "Ready")
    if ready.get("status") != "False" or ready.get("reason") != "ContainersNotReady":
        return None
    return _time(ready, "lastTransitionTime") if status.get("phase") == "Running" else None


def _true_conditions(status: Mapping[str, object]) -> frozenset[str]:
    return frozenset(
        str(item.get("type")) for item in _mappings(status, "conditions") if item.get("status") == "True"
    )


def _container_state(status: Mapping[str, object]) -> Mapping[str, object]:
    for container in _mappings(status, "containerStatuses"):
        if container.get("name") == names.CONTAINER:
            return _mapping(container, "state")
    return {}


def _condition(status: Mapping[str, object], kind: str) -> Mapping[str, object]:
    return next((item for item in _mappings(status, "conditions") if item.get("type") == kind), {})


def _mappings(raw: Mapping[str, object], key: str) -> Iterator[Mapping[str, object]]:
    for item in shape.sequence(raw.get(key) or (), key, at_most=256):
        yield shape.mapping(item, key)


def _mapping(raw: Mapping[str, object], key: str) -> Mapping[str, object]:
    return shape.mapping(raw.get(key) or {}, key)


def _text(raw: Mapping[str, object], key: str) -> str | None:
    value = raw.get(key)
    return None if value is None or value == "" else shape.text(value, key, at_most=65536)


def _time(raw: Mapping[str, object], key: str) -> datetime | None:
    value = raw.get(key)
    return None if value is None else shape.time(value, key)


def _number(raw: Mapping[str, object], key: str) -> int | None:
    value = raw.get(key)
    return None if value is None else shape.integer(value, key, at_least=-(2**31), at_most=2**31)


def _label_number(tags: Mapping[str, object], key: str) -> int:
    written = shape.text(tags.get(key), key, at_most=8)
    if not (written.isascii() and written.isdigit()):
        raise ShapeError(key, f"{written!r} is not a number of at most eight digits")
    return int(written)
