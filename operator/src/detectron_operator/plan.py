"""What to do next for a job: one pure function from what is observed to a plan that the engine executes.

The engine creates and deletes, then writes the status, then posts the events. It may die between any two of
these: the next plan, made from what is then observed, goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from detectron_operator import names, numbers, reasons, shape
from detectron_operator import status as statuses
from detectron_operator.api import SpecError, TrainingJob
from detectron_operator.ending import Ending, final_verdict, why_ended
from detectron_operator.gang import NO_REPLICAS, assemble, latest_progress
from detectron_operator.manifests.configmap import configmap
from detectron_operator.manifests.pod import pod
from detectron_operator.manifests.service import service
from detectron_operator.observed import Pod
from detectron_operator.progress import Progress
from detectron_operator.situation import Situation
from detectron_operator.status import Words
from detectron_operator.steps import CreateChild, Defaults, DeletePod, Event, Plan, Refusal

__all__ = ["CreateChild", "Defaults", "DeletePod", "Event", "Plan", "Refusal", "plan", "plan_invalid"]

FAILURE_GRACE_SECONDS = 10
"""What survivors of a failed gang get: they cannot save a checkpoint together any more."""

LINGER = timedelta(seconds=5)
"""How long after node 0 succeeded its peers may end by themselves, so that their logs stay."""

REJECTION_PAUSE = timedelta(seconds=10)
"""How long to wait after a kubelet rejected a pod: it would do so again at once, and that does not count."""


def plan(
    job: TrainingJob,
    pods: Sequence[Pod],
    progress: Progress | None,
    now: datetime,
    defaults: Defaults,
    refusal: Refusal | None = None,
) -> Plan:
    """The next step for a job.

    A decision that later ones rest on (a new attempt, the end) is written to the status before anything
    follows from it, so that whoever plans next, after a crash or not, comes to the same.
    """
    if job.deleting:
        return Plan()
    stored = statuses.read(job.status)
    gang = assemble(job, stored.attempt, pods)
    reported = numbers.merged(job.status, latest_progress(gang, progress))
    situation = Situation(job=job, stored=stored, gang=gang, numbers=reported, now=now)
    if stored.finished:
        return _clean_up(situation)
    step = _decide(situation, defaults, refusal)
    return replace(_held_back(step, situation, defaults.progress_period), poll=gang.poll)


def plan_invalid(raw: Mapping[str, object], error: SpecError, now: datetime) -> Plan:
    """The step for an object that cannot be parsed: Failed with reason InvalidSpec, once and for good."""
    metadata = raw.get("metadata")
    generation = metadata.get("generation") if isinstance(metadata, Mapping) else None
    status = raw.get("status")
    stored = status if isinstance(status, Mapping) else {}
    if stored.get("phase") in reasons.TERMINAL:
        return Plan()
    observed = generation if isinstance(generation, int) else 0
    desired = statuses.invalid(stored, generation=observed, message=str(error), now=now)
    return Plan(status=desired, events=(Event(reasons.INVALID_SPEC, str(desired["message"]), "Warning"),))


def _decide(s: Situation, defaults: Defaults, refusal: Refusal | None) -> Plan:
    """The rules, most final first."""
    if s.gang.finisher is not None:
        return _succeed(s)
    if s.job.spec.suspend:
        return _suspend(s)
    if s.stored.suspended:
        return _resume(s)
    ending = _ending(s)
    if ending is not None:
        return _end_attempt(s, ending)
    if any(pod.alive for pod in s.gang.older):
        return _clear_the_way(s)
    if s.gang.running and s.stored.children_known:
        words = Words(reason=reasons.GANG_RUNNING, message=f"Training on {s.gang.in_words}")
        return Plan(status=s.status(reasons.RUNNING, words))
    pause = _left_of_pause(s)
    if pause > 0:
        words = Words(reason=reasons.CREATING, message="Waiting before the next try: a node rejected a pod")
        return Plan(status=s.status(_phase_until_running(s), words), requeue_after=pause)
    return _gather(s, defaults, refusal)


def _held_back(step: Plan, s: Situation, period: float) -> Plan:
    """The step without a status that stands already, or whose only news are numbers that can wait."""
    if step.status is None:
        return step
    changed = statuses.changed_fields(s.job.status, step.status)
    if changed <= {"lastUpdatedTime"}:
        return replace(step, status=None)
    wait = numbers.wait(s.job.status, step.status, s.now, period) if changed <= numbers.FIELDS else 0.0
    return replace(step, status=None, requeue_after=wait) if wait > 0 else step


def _ending(s: Situation) -> Ending | None:
    """Why the attempt ended; a verdict that comes in while the next one is still to start counts too."""
    if not s.gang.current and s.stored.phase == reasons.RESTARTING:
        return final_verdict(pod for pod in s.gang.older if pod.attempt == s.gang.attempt - 1)
    ran = s.stored.phase == reasons.RUNNING and s.stored.attempt == s.gang.attempt
    expected = s.gang.size if ran else 0
    return why_ended(s.job.name, s.gang.attempt, s.gang.current.values(), expected=expected)


def _gather(s: Situation, defaults: Defaults, refusal: Refusal | None) -> Plan:
    """Create what is missing while the gang has not run yet, and say what it waits for."""
    children = () if s.stored.children_known and not s.gang.missing else _children(s, defaults.trainer_image)
    words = s.gang.waiting()
    if refusal is not None and children:
        words = Words(reason=refusal.reason, message=refusal.message)
    desired = s.status(_phase_until_running(s), words, replicas=s.gang.replicas(created=len(s.gang.missing)))
    created = Event(reasons.CREATED, f"Created a gang of {s.gang.in_words}", "Normal")
    return Plan(create=children, status=desired, events=(created,) if not s.stored.phase else ())


def _children(s: Situation, trainer_image: str) -> tuple[CreateChild, ...]:
    """The missing pods with all that they need: a Service that somebody deleted comes back with them."""
    job, attempt = s.job, s.gang.attempt
    return (
        CreateChild("Service", job.name, service(job)),
        CreateChild("ConfigMap", job.name, configmap(job)),
        *(
            CreateChild("Pod", names.pod_name(job.name, attempt, i), pod(job, attempt, i, trainer_image))
            for i in s.gang.missing
        ),
    )


def _clear_the_way(s: Situation) -> Plan:
    """Stop what is left of earlier attempts: two rank 0s must never write one output."""
    leftover = [pod for pod in s.gang.older if pod.alive]
    first = leftover[0]
    failed = statuses.condition_reason(s.job.status, "Restarting") not in (None, *reasons.DISRUPTIONS)
    words = Words(
        reason=reasons.CREATING,
        message=f"Waiting for pod {first.name} on {first.node or 'no node'} to stop, of an earlier attempt",
    )
    grace = FAILURE_GRACE_SECONDS if failed else None
    return Plan(status=s.status(_phase_until_running(s), words), delete=_deletions(leftover, grace))


def _left_of_pause(s: Situation) -> float:
    """Seconds until an attempt may follow one of which a kubelet rejected a pod."""
    rejected = statuses.condition_reason(s.job.status, "Restarting") == reasons.POD_REJECTED
    if s.gang.current or not s.gang.older or not rejected:
        return 0.0
    passed = s.now - max(pod.created for pod in s.gang.older)
    return (REJECTION_PAUSE - passed).total_seconds() if timedelta() <= passed < REJECTION_PAUSE else 0.0


def _phase_until_running(s: Situation) -> str:
    return reasons.RESTARTING if s.stored.phase == reasons.RESTARTING else reasons.PENDING


def _suspend(s: Situation) -> Plan:
    """Stop every pod, each with its own grace period, and say Suspended when none is left."""
    alive = s.gang.alive
    if alive:
        words = Words(
            reason=reasons.SUSPENDING,
            message=f"{len(alive)} pods save a checkpoint and stop, as runPolicy.suspend asks",
        )
        return Plan(status=s.status(s.stored.phase or reasons.PENDING, words), delete=_deletions(alive, None))
    words = Words(reason=reasons.SUSPEND_REQUESTED, message="Suspended: runPolicy.suspend is set")
    desired = s.status(reasons.SUSPENDED, words)
    entered = s.stored.phase != reasons.SUSPENDED
    return Plan(status=desired, events=(Event("Suspended", words.message, "Normal"),) if entered else ())


def _resume(s: Situation) -> Plan:
    """Decide on the next attempt; a job that was suspended from birth has its first one still before it."""
    attempt = s.gang.attempt + 1 if s.stored.started else s.gang.attempt
    cause = Words(
        reason=reasons.RESUMED, message=f"Resumed as attempt {attempt}: runPolicy.suspend was unset"
    )
    return _next_attempt(s, attempt, phase=reasons.PENDING, cause=cause, event_type="Normal")


def _end_attempt(s: Situation, ending: Ending) -> Plan:
    """Fail, or decide on the next attempt."""
    if not ending.retryable:
        return _fail(s, ending, Words(reason=ending.reason, message=ending.message))
    limit = s.job.spec.backoff_limit
    if ending.counts and s.stored.restarts >= limit:
        message = f"Failed {limit + 1} times, runPolicy.backoffLimit is {limit}; at last {ending.sentence()}"
        return _fail(s, ending, Words(reason=reasons.BACKOFF_LIMIT_EXCEEDED, message=message))
    attempt = s.gang.attempt + 1
    return _next_attempt(
        s,
        attempt,
        phase=reasons.RESTARTING,
        cause=Words(reason=ending.reason, message=f"Restarting as attempt {attempt}: {ending.sentence()}"),
        event_type="Warning" if ending.counts else "Normal",
        restarts=s.stored.restarts + ending.counts,
    )


def _next_attempt(
    s: Situation,
    attempt: int,
    *,
    phase: str,
    cause: Words,
    event_type: Literal["Normal", "Warning"],
    restarts: int | None = None,
) -> Plan:
    """Write the attempt down; the next plan, made at once, carries it out."""
    words = Words(reason=reasons.CREATING, message=cause.message)
    desired = s.status(phase, words, cause=cause, attempt=attempt, restarts=restarts, replicas=NO_REPLICAS)
    word = reasons.RESTARTING if phase == reasons.RESTARTING else cause.reason
    return Plan(status=desired, events=(Event(word, cause.bounded, event_type),), requeue_after=0.0)


def _succeed(s: Situation) -> Plan:
    iteration = s.numbers.get("iteration")
    reached = "" if iteration is None else f" at iteration {iteration}"
    words = Words(reason=reasons.TRAINING_COMPLETED, message=f"Training completed{reached}")
    linger = LINGER.total_seconds() if s.gang.alive else None
    return Plan(status=s.status(reasons.SUCCEEDED, words), requeue_after=linger)


def _fail(s: Situation, ending: Ending, words: Words) -> Plan:
    desired = s.status(reasons.FAILED, words) | {"failure": ending.record()}
    return Plan(status=desired, events=(Event(words.reason, words.bounded, "Warning"),), requeue_after=0.0)


def _clean_up(s: Situation) -> Plan:
    """Free what a finished job still holds; its numbers change only while its last pods are ending."""
    ending = shape.mapping(s.job.status.get("replicaStatuses", {}), "status.replicaStatuses").get("active")
    desired = {**s.job.status, "observedGeneration": s.job.generation}
    if ending:
        desired |= s.numbers_in(s.stored.phase) | {"replicaStatuses": s.gang.replicas()}
    changed = statuses.changed_fields(s.job.status, desired)
    kept = Plan(status=desired if changed else None)
    if not s.gang.alive:
        return kept
    if s.stored.phase == reasons.FAILED:
        return replace(kept, delete=_deletions(s.gang.alive, FAILURE_GRACE_SECONDS))
    completed = shape.time(s.job.status.get("completionTime"), "status.completionTime")
    left = (completed + LINGER - s.now).total_seconds()
    if 0 < left <= LINGER.total_seconds():
        return replace(kept, requeue_after=left)
    return replace(kept, delete=_deletions(s.gang.alive, None))


def _deletions(pods: Iterable[Pod], grace_seconds: int | None) -> tuple[DeletePod, ...]:
    """Deletes what nobody has deleted yet."""
    return tuple(DeletePod(pod.name, pod.uid, grace_seconds) for pod in pods if not pod.deleting)
