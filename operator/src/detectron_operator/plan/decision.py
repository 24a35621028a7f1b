"""The rules in their order: what is the case, and so which step is next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from detectron_operator import numbers, reasons
from detectron_operator import status as statuses
from detectron_operator.api import SpecError, TrainingJob
from detectron_operator.gang import assemble, latest_progress
from detectron_operator.loss import next_loss
from detectron_operator.observed import Pod
from detectron_operator.plan.finishing import clean_up, succeed
from detectron_operator.plan.restarting import end_attempt, ended
from detectron_operator.plan.starting import start
from detectron_operator.plan.suspending import resume, suspend
from detectron_operator.progress import Progress
from detectron_operator.situation import Situation
from detectron_operator.status import Words
from detectron_operator.steps import Defaults, Event, Plan, Refusal


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
    gang = assemble(job, stored.history.attempt, pods)
    reported = numbers.merged(job.status, latest_progress(gang, progress))
    situation = Situation(job=job, stored=stored, gang=gang, numbers=reported, now=now)
    if stored.finished:
        return _in_time_for_losses(clean_up(situation), situation)
    step = _held_back(_decide(situation, defaults, refusal), situation, defaults.progress_period)
    return replace(_in_time_for_losses(step, situation), poll=gang.poll)


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
        return succeed(s)
    if s.job.spec.run_policy.suspend:
        return suspend(s)
    if s.stored.suspended:
        return resume(s)
    ending = ended(s)
    if ending is not None:
        return end_attempt(s, ending)
    if any(pod.alive for pod in s.gang.older) or not (s.gang.running and s.stored.children_known):
        return start(s, defaults, refusal)
    words = Words(reason=reasons.GANG_RUNNING, message=f"Training on {s.gang.in_words}")
    return Plan(status=s.status(reasons.RUNNING, words))


def _in_time_for_losses(step: Plan, s: Situation) -> Plan:
    """The step with another look no later than when a pod's silence comes to mean that it is lost."""
    looks = [look for look in (step.requeue_after, next_loss(s.gang.alive, s.now)) if look is not None]
    return replace(step, requeue_after=min(looks, default=None))


def _held_back(step: Plan, s: Situation, period: float) -> Plan:
    """The step without a status that stands already, or whose only news are numbers that can wait."""
    if step.status is None:
        return step
    changed = statuses.changed_fields(s.job.status, step.status)
    if changed <= {"lastUpdatedTime"}:
        return replace(step, status=None)
    wait = numbers.wait(s.job.status, step.status, s.now, period) if changed <= numbers.FIELDS else 0.0
    return replace(step, status=None, requeue_after=wait) if wait > 0 else step
