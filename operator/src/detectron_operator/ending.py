"""Why an attempt ended: the most telling of what its pods left behind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from detectron_operator import names, progress, reasons
from detectron_operator.observed import Pod
from detectron_operator.progress import Progress, ProgressError, Verdict

_MAX_MESSAGE = 4096


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The cause of an attempt's end; it `counts` against backoffLimit where the job itself failed."""

    reason: str
    message: str
    retryable: bool
    counts: bool
    pod: str
    index: int
    node: str = ""
    rank: int | None = None
    exit_code: int | None = None
    iteration: int | None = None

    def record(self) -> dict[str, object]:
        """As `.status.failure`."""
        told = {
            "reason": self.reason,
            "message": self.message[:_MAX_MESSAGE],
            "pod": self.pod,
            "node": self.node or None,
            "rank": self.rank,
            "exitCode": self.exit_code,
            "iteration": self.iteration,
        }
        return {field: value for field, value in told.items() if value is not None}

    def sentence(self) -> str:
        """One line for people."""
        return f"pod {self.pod}: {self.reason}: {self.message}"


def last_words(pod: Pod) -> Progress | None:
    """The progress document that a pod left as its termination message, None where there is none."""
    if pod.termination_message is None:
        return None
    try:
        document = progress.parse(pod.termination_message)
    except ProgressError:
        return None
    return document if document.attempt == pod.attempt else None


def why_ended(job: str, attempt: int, pods: Iterable[Pod], *, expected: int) -> Ending | None:
    """The cause of an attempt's end, None while it goes on.

    `expected` is how many pods must be there: all of the gang once it has run, 0 before, when a pod that is
    gone is simply created again. A verdict that forbids another attempt goes first; then a disruption,
    since a gang whose pod was taken away fails on the broken connection everywhere else; then a cause that
    somebody stated; then the lowest node.
    """
    observed = {pod.index: pod for pod in pods}
    endings = [_of_pod(pod) for pod in observed.values() if pod.phase == "Failed"]
    endings += [
        _disrupted(pod, f"deleted while it ran on {pod.node or 'no node'}", reasons.POD_DELETED)
        for pod in observed.values()
        if expected and pod.alive and pod.deleting
    ]
    endings += [_vanished(job, attempt, index) for index in range(expected) if index not in observed]
    return min(endings, key=_how_telling, default=None)


def final_verdict(pods: Iterable[Pod]) -> Ending | None:
    """The cause that forbids another attempt, where any of the pods stated one."""
    endings = [_of_pod(pod) for pod in pods if pod.phase == "Failed"]
    return min((e for e in endings if not e.retryable), key=_how_telling, default=None)


def _how_telling(ending: Ending) -> tuple[bool, bool, bool, int]:
    return ending.retryable, ending.counts, ending.reason == reasons.PROCESS_FAILED, ending.index


def _of_pod(pod: Pod) -> Ending:
    document = last_words(pod)
    verdict = document.verdict if document else None
    killed = pod.reason == "OOMKilled" and verdict is not None and verdict.reason == reasons.PROCESS_FAILED
    if verdict is not None and verdict.reason != reasons.COMPLETED and not killed:
        return _judged(pod, verdict)
    if pod.disruption:
        return _disrupted(pod, f"{pod.disruption}: {pod.message or 'taken away'}", reasons.POD_DISRUPTED)
    if pod.deleting:
        return _disrupted(pod, f"deleted while it ran on {pod.node or 'no node'}", reasons.POD_DELETED)
    if pod.exit_code is None and pod.reason != "Evicted":
        return _disrupted(
            pod, f"{pod.reason}: {pod.message or 'not taken by its node'}", reasons.POD_REJECTED
        )
    stated = pod.reason if pod.reason not in (None, "Error", "Completed") else None
    return Ending(
        reason=stated or reasons.PROCESS_FAILED,
        message=pod.message or f"ended with exit code {pod.exit_code} and left no verdict",
        retryable=True,
        counts=True,
        pod=pod.name,
        index=pod.index,
        node=pod.node,
        exit_code=pod.exit_code,
    )


def _judged(pod: Pod, verdict: Verdict) -> Ending:
    taken_away = pod.deleting or pod.disruption is not None or verdict.reason == reasons.PREEMPTED
    return Ending(
        reason=verdict.reason,
        message=verdict.message,
        retryable=verdict.retryable or verdict.reason == reasons.PREEMPTED,
        counts=not taken_away,
        pod=pod.name,
        index=pod.index,
        node=pod.node,
        rank=verdict.rank,
        exit_code=pod.exit_code,
        iteration=verdict.iteration,
    )


def _disrupted(pod: Pod, message: str, reason: str) -> Ending:
    return Ending(
        reason=reason,
        message=message,
        retryable=True,
        counts=False,
        pod=pod.name,
        index=pod.index,
        node=pod.node,
        exit_code=pod.exit_code,
    )


def _vanished(job: str, attempt: int, index: int) -> Ending:
    return Ending(
        reason=reasons.POD_DELETED,
        message="deleted, or lost with its node",
        retryable=True,
        counts=False,
        pod=names.pod_name(job, attempt, index),
        index=index,
    )
