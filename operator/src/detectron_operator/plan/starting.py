"""The start of an attempt: make way for it, create what is missing, wait until every pod runs."""

from __future__ import annotations

from dataclasses import replace

from detectron_operator import names, reasons
from detectron_operator import status as statuses
from detectron_operator.loss import is_lost
from detectron_operator.manifests.pod import pod
from detectron_operator.plan.children import refused, shared
from detectron_operator.plan.deadlines import left_to_start, not_started
from detectron_operator.plan.deleting import FAILURE_GRACE_SECONDS, deletions, stop_hung
from detectron_operator.plan.preparing import asking
from detectron_operator.situation import Situation
from detectron_operator.status import Words
from detectron_operator.steps import CreateChild, Defaults, Event, Plan, Refusal


def start(s: Situation, defaults: Defaults, refusal: Refusal | None) -> Plan:
    """Bring the attempt one step closer to a gang that runs, and keep it whole."""
    if any(pod.alive for pod in s.gang.older):
        return _clear_the_way(s)
    step = _wait(s) if s.pause > 0 and s.gang.missing else _gather(s, defaults, refusal)
    return replace(step, delete=deletions(s.gang.leaving, None, s.now))


def _clear_the_way(s: Situation) -> Plan:
    """Stop what is left of earlier attempts: two rank 0s must never write one output."""
    leftover = [pod for pod in s.gang.older if pod.alive]
    first = leftover[0]
    failed = statuses.condition_reason(s.job.status, "Restarting") not in (None, *reasons.DISRUPTIONS)
    can_save = not failed and any(pod.index == 0 and not is_lost(pod, s.now) for pod in leftover)
    words = Words(
        reason=reasons.CREATING,
        message=f"Waiting for pod {first.name} on {first.node or 'no node'} to stop, of an earlier attempt",
    )
    grace = None if can_save else FAILURE_GRACE_SECONDS
    desired = s.status(_phase(s), words)
    if statuses.condition_reason(s.job.status, "Restarting") == reasons.PROGRESS_DEADLINE_EXCEEDED:
        return Plan(status=desired, delete=stop_hung(leftover, s.now))
    return Plan(status=desired, delete=deletions(leftover, grace, s.now))


def _wait(s: Situation) -> Plan:
    """Let the back-off pass, also while those that live on train with fewer pods."""
    row, due = s.history.in_a_row, s.history.record()["nextAttemptTime"]
    waits = f"Attempt {s.gang.attempt} waits"
    if _runs(s):
        waits = f"Training on {s.gang.strength}, a replacement waits"
    said = f"{waits} until {due}: restart {row} in a row"
    words = Words(reason=reasons.BACK_OFF, message=said)
    return Plan(status=s.status(_phase(s), words), requeue_after=s.pause)


def _gather(s: Situation, defaults: Defaults, refusal: Refusal | None) -> Plan:
    """Create what is missing, and say what the gang does or waits for."""
    children = () if s.stored.children_known and not s.gang.missing else _children(s, defaults)
    words = s.gang.waiting()
    if _runs(s):
        reason = reasons.GANG_RUNNING if s.gang.whole else reasons.GANG_SHRUNK
        words = Words(reason=reason, message=f"Training on {s.gang.strength}")
    if refusal is not None and children:
        words = refusal.words
    left = None if _runs(s) else left_to_start(s)
    if left is not None and left <= 0 and refusal is None:
        return not_started(s, words, s.gang.waited_for)
    desired = s.status(_phase(s), words, replicas=s.gang.replicas(created=len(s.gang.missing)))
    events = refused(s, refusal) if refusal else _created(s)
    # Nobody decides anything by how far a start has come; the end of a disruption is told at once.
    can_wait = refusal is None and s.stored.phase != reasons.RESTARTING
    step = Plan(create=children, status=desired, events=events, requeue_after=left, can_wait=can_wait)
    return asking(step, s)


def _created(s: Situation) -> tuple[Event, ...]:
    """Of the first gang, and of a later one whose children were refused at first; a cause told of others."""
    if s.stored.reason not in ("", reasons.CHECK_PASSED, *reasons.REFUSALS):
        return ()
    return (Event(reasons.CREATED, f"Created a gang of {s.gang.in_words}"),)


def _children(s: Situation, defaults: Defaults) -> tuple[CreateChild, ...]:
    """The missing pods with all that they need."""
    job, attempt = s.job, s.gang.attempt
    image, annotated = defaults.trainer_image, defaults.annotate_for_prometheus
    return (
        *shared(job),
        *(
            CreateChild(
                "Pod",
                names.pod_name(job.name, attempt, i, nth),
                pod(job, attempt, i, image, nth, annotated=annotated),
            )
            for i, nth in ((i, s.history.replacements.get(i, 0)) for i in s.gang.missing)
        ),
    )


def _runs(s: Situation) -> bool:
    return s.gang.running and (s.stored.children_known or s.stored.phase == reasons.RUNNING)


def _phase(s: Situation) -> str:
    if _runs(s):
        return reasons.RUNNING
    return reasons.RESTARTING if s.stored.phase == reasons.RESTARTING else reasons.PENDING
