"""Replacement of single pods, while node 0 and with it the rendezvous and rank 0 live on.

The workers of all pods start anew either way. What a new attempt costs beyond that is saved: N pods to stop,
to schedule and to start, and the output volume to move.
"""

from __future__ import annotations

from datetime import timedelta

from detectron_operator import reasons
from detectron_operator import status as statuses
from detectron_operator.ending import Ending
from detectron_operator.loss import is_lost
from detectron_operator.observed import Pod
from detectron_operator.plan.restarting import with_restart
from detectron_operator.situation import Situation
from detectron_operator.status import Words
from detectron_operator.steps import Event, Plan

LONGEST_PAUSE = timedelta(seconds=30)
"""Too few survivors hold their GPUs while they wait; a longer back-off is for a gang that holds none."""

PATIENCE = timedelta(minutes=5)
"""How long too few survivors wait for a replacement to run; torchrun's own patience is ten minutes."""


def is_replaceable(s: Situation, ending: Ending) -> bool:
    """Whether those pods that ended, or are about to, can be replaced within the attempt."""
    if ending.action == "Fail" or not _survives(s, s.gang.current.get(0)):
        return False
    if ending.action == "Restart" and s.history.restarts >= s.job.spec.run_policy.backoff_limit:
        return False
    if s.stored.phase != reasons.RUNNING and not s.history.replacements:
        return False
    if _left(s) >= s.gang.least:
        # An elastic gang trains on: its budget and the pause are those of the pods that are missing.
        return True
    spent = sum(s.history.replacements.values())
    soon = with_restart(s, ending).left(s.now) <= LONGEST_PAUSE.total_seconds()
    return spent + len(_to_replace(s)) <= s.job.spec.elastic_policy.max_restarts and soon


def replace_lost(s: Situation, ending: Ending) -> Plan:
    """Write the replacements down; the next plan, made at once, carries them out."""
    indexes = _to_replace(s)
    history = with_restart(s, ending).replaced(indexes)
    which = ", ".join(map(str, indexes))
    cause = Words(reason=ending.reason, message=f"Replacing the pod of node {which}: {ending.sentence()}")
    words = Words(reason=reasons.CREATING, message=cause.message)
    phase = reasons.RUNNING if _left(s) >= s.gang.least else reasons.RESTARTING
    event = Event(cause.reason, cause.bounded)
    desired = s.status(phase, words, cause=cause, history=history)
    return Plan(status=desired, events=(event,), requeue_after=0.0)


def overdue(s: Situation) -> Ending | None:
    """The end of an attempt whose survivors have waited too long for a replacement."""
    since = statuses.true_since(s.job.status, "Restarting")
    if since is None or not s.history.replacements or s.gang.running or s.now - since < PATIENCE:
        return None
    waiting = s.gang.waiting()
    index = min((i for i, pod in s.gang.current.items() if pod.phase != "Running"), default=0)
    pod = s.gang.current.get(index)
    return Ending(
        reason=reasons.REPLACEMENT_OVERDUE,
        message=f"no replacement runs after {PATIENCE.seconds} s: {waiting.message}",
        action="RestartWithoutCounting",
        attempt=s.gang.attempt,
        pod=pod.name if pod else "",
        index=index,
        node=pod.node if pod else "",
    )


def patience_left(s: Situation) -> float | None:
    """Seconds until `overdue`, None where nothing is being replaced, or where it is overdue already."""
    since = statuses.true_since(s.job.status, "Restarting")
    if since is None or not s.history.replacements:
        return None
    left = (since + PATIENCE - s.now).total_seconds()
    return left if left > 0 else None


def _left(s: Situation) -> int:
    """How many pods live on."""
    return sum(_survives(s, pod) for pod in s.gang.current.values())


def _to_replace(s: Situation) -> list[int]:
    """Node indexes that have lost their pod, in the order of nodes."""
    ended = {index for index, pod in s.gang.current.items() if not _survives(s, pod) and _has_ended(pod, s)}
    return sorted(s.vanished | ended)


def _has_ended(pod: Pod, s: Situation) -> bool:
    return pod.phase == "Failed" or pod.deleting or is_lost(pod, s.now)


def _survives(s: Situation, pod: Pod | None) -> bool:
    return pod is not None and pod.phase == "Running" and not pod.deleting and not is_lost(pod, s.now)
