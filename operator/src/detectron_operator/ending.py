"""Why an attempt ended: the most telling of what its pods left behind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from detectron_operator import names, progress, reasons
from detectron_operator.api.failure_policy import Action, Rule
from detectron_operator.loss import is_lost
from detectron_operator.observed import Pod
from detectron_operator.progress import Progress, ProgressError, Verdict
from detectron_operator.reasons import Reason

_MAX_MESSAGE = 4096

_TELLING: tuple[Action, ...] = ("Fail", "RestartWithoutCounting", "Restart")
"""What says most about the cause first; a gang whose pod was taken away fails everywhere else too."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The cause of an attempt's end, and what follows from it.

    That is a restart which counts against backoffLimit where the job itself failed, and does not where
    somebody took a pod away.
    """

    reason: Reason
    message: str
    action: Action
    attempt: int
    pod: str
    index: int
    node: str = ""
    rank: int | None = None
    exit_code: int | None = None
    signal: str | None = None
    iteration: int | None = None
    conditions: frozenset[str] = frozenset()

    def under(self, rules: Iterable[Rule]) -> Ending:
        """The same, followed by what the first of the rules that matches says."""
        for rule in rules:
            if rule.matches(
                reason=self.reason, exit_code=self.exit_code, signal=self.signal, conditions=self.conditions
            ):
                return replace(self, action=rule.action)
        return self

    def record(self) -> dict[str, object]:
        """As `.status.failure`."""
        told = {
            "reason": self.reason,
            "message": self.message[:_MAX_MESSAGE],
            "pod": self.pod,
            "node": self.node or None,
            "rank": self.rank,
            "exitCode": self.exit_code,
            "signal": self.signal,
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


def why_ended(
    job: str, attempt: int, pods: Iterable[Pod], *, ran: bool, gone: Iterable[int], now: datetime
) -> Ending | None:
    """The cause of an attempt's end, None while it goes on.

    A gang that has not `ran` loses nothing by a pod that is being deleted: it is simply created again.
    `gone` are the node indexes whose pod went without a word. A verdict that forbids another attempt
    goes first; then a disruption, since a gang whose pod was taken away fails on the broken connection
    everywhere else; then a cause that somebody stated; then the lowest node.
    """
    observed = list(pods)
    endings = of_pods(observed)
    endings += [
        _taken_away(pod) for pod in observed if ran and pod.alive and pod.deleting and not is_lost(pod, now)
    ]
    endings += [_out_of_reach(pod) for pod in observed if is_lost(pod, now)]
    endings += [vanished(names.pod_name(job, attempt, index), attempt, index) for index in gone]
    return min(endings, key=_how_telling, default=None)


def of_pods(pods: Iterable[Pod]) -> list[Ending]:
    """What each of the pods that failed left behind, the most telling first."""
    return sorted((_of_pod(pod) for pod in pods if pod.phase == "Failed"), key=_how_telling)


def _how_telling(ending: Ending) -> tuple[int, bool, int]:
    return _TELLING.index(ending.action), ending.reason == reasons.PROCESS_FAILED, ending.index


def _of_pod(pod: Pod) -> Ending:
    document = last_words(pod)
    verdict = document.verdict if document else None
    killed = pod.reason == "OOMKilled" and verdict is not None and verdict.reason == reasons.PROCESS_FAILED
    if verdict is not None and verdict.reason != reasons.COMPLETED and not killed:
        return _judged(pod, verdict)
    if pod.disruption or pod.deleting:
        return _taken_away(pod)
    if pod.exit_code is None and pod.reason != "Evicted":
        return _disrupted(
            pod, f"{pod.reason}: {pod.message or 'not taken by its node'}", reasons.POD_REJECTED
        )
    stated = pod.reason if pod.reason not in (None, "Error", "Completed") else None
    by = f", by {pod.signal}" if pod.signal else ""
    word = reasons.word(stated or "", otherwise=reasons.PROCESS_FAILED)
    if verdict is not None and killed:
        ending = _ending(pod, word, pod.message or verdict.message, "Restart")
        return replace(ending, rank=verdict.rank, iteration=verdict.iteration)
    message = f"ended with exit code {pod.exit_code}{by} and left no verdict"
    return _ending(pod, word, pod.message or message, "Restart")


def hung(first: Pod, message: str) -> Ending:
    """The end of a gang that no longer gets on, told of node 0: whoever hangs, rank 0 waits for it."""
    return _ending(first, reasons.PROGRESS_DEADLINE_EXCEEDED, message, "Restart")


def _taken_away(pod: Pod) -> Ending:
    """By the cluster, which writes down why before it deletes, or by somebody who deleted the pod."""
    if pod.disruption:
        return _disrupted(pod, f"{pod.disruption}: {pod.message or 'taken away'}", reasons.POD_DISRUPTED)
    return _disrupted(pod, f"deleted while it ran on {pod.node or 'no node'}", reasons.POD_DELETED)


def _out_of_reach(pod: Pod) -> Ending:
    if pod.unreachable_since is None:
        message = f"deleted, and not stopped by {pod.node or 'no node'} in time"
        return _disrupted(pod, message, reasons.POD_DELETED)
    since = f"{pod.unreachable_since:%H:%M:%S} UTC"
    return _disrupted(pod, f"the cluster hears nothing of {pod.node} since {since}", reasons.NODE_LOST)


def _judged(pod: Pod, verdict: Verdict) -> Ending:
    action: Action
    if verdict.reason == reasons.PREEMPTED:
        action = "RestartWithoutCounting"
    elif not verdict.retryable:
        action = "Fail"
    else:
        taken_away = pod.deleting or pod.disruption is not None
        action = "RestartWithoutCounting" if taken_away else "Restart"
    word = reasons.word(verdict.reason, otherwise=reasons.PROCESS_FAILED)
    judged = _ending(pod, word, verdict.message, action)
    return replace(judged, rank=verdict.rank, iteration=verdict.iteration)


def _disrupted(pod: Pod, message: str, reason: Reason) -> Ending:
    return _ending(pod, reason, message, "RestartWithoutCounting")


def _ending(pod: Pod, reason: Reason, message: str, action: Action) -> Ending:
    return Ending(
        reason=reason,
        message=message,
        action=action,
        attempt=pod.attempt,
        pod=pod.name,
        index=pod.index,
        node=pod.node,
        exit_code=pod.exit_code,
        signal=pod.signal,
        conditions=pod.conditions,
    )


def vanished(pod: str, attempt: int, index: int) -> Ending:
    """The end of a pod of which nothing is left."""
    return Ending(
        reason=reasons.POD_DELETED,
        message="deleted, or lost with its node",
        action="RestartWithoutCounting",
        attempt=attempt,
        pod=pod,
        index=index,
    )
