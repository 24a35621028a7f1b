"""The rules in their order: what is the case, and so which step is next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from detectron_operator import ledger, numbers
from detectron_operator import status as statuses
from detectron_operator.api import TrainingJob
from detectron_operator.gang import assemble, latest_progress
from detectron_operator.loss import next_loss
from detectron_operator.observed import Pod
from detectron_operator.plan.checking import check, dismissed, unchecked
from detectron_operator.plan.cleaning import clean_up, outdated
from detectron_operator.plan.deadlines import left_to_run, too_long
from detectron_operator.plan.finishing import succeed
from detectron_operator.plan.replacing import is_replaceable, overdue, patience_left, replace_lost
from detectron_operator.plan.restarting import end_attempt, ended
from detectron_operator.plan.stalling import left_to_get_on, stalled
from detectron_operator.plan.starting import start
from detectron_operator.plan.suspending import resume, suspend
from detectron_operator.progress import Progress
from detectron_operator.situation import Situation
from detectron_operator.steps import Defaults, Plan, Refusal


def plan(
    job: TrainingJob,
    pods: Sequence[Pod],
    progress: Progress | None,
    now: datetime,
    defaults: Defaults,
    refusal: Refusal | None = None,
    *,
    mute: bool = False,
) -> Plan:
    """The next step for a job; `mute` says that rank 0 lets whoever asks for its progress wait in vain.

    A decision that later ones rest on (a new attempt, the end) is written to the status before anything
    follows from it, so that whoever plans next, after a crash or not, comes to the same.
    """
    if job.deleting:
        return Plan()
    stored = statuses.read(job.status)
    gang = assemble(job, stored.history, pods)
    told = latest_progress(gang, progress, known=ledger.read(job.status).newest)
    s = Situation(
        job=job,
        stored=stored,
        gang=gang,
        checker=next((pod for pod in pods if pod.preflight and pod.job_uid == job.uid), None),
        progress=told,
        mute=mute,
        numbers=numbers.merged(job.status, told),
        now=now,
    )
    alive = [*gang.alive, *([s.checker] if s.checker and s.checker.alive else [])]
    if stored.finished:
        step = soonest(clean_up(s), next_loss(alive, now))
    else:
        step = _held_back(_decide(s, defaults, refusal), s, defaults.progress_period)
        looks = (next_loss(alive, now), left_to_run(s), patience_left(s))
        step = soonest(replace(step, poll=gang.poll), *looks)
    return replace(_accounted(step, s), delete=(*step.delete, *dismissed(s), *outdated(s)))


def _decide(s: Situation, defaults: Defaults, refusal: Refusal | None) -> Plan:
    """The rules, most final first."""
    if s.gang.finisher is not None:
        return succeed(s)
    left = left_to_run(s)
    if left is not None and left <= 0:
        return too_long(s)
    if s.job.spec.run_policy.suspend:
        return suspend(s)
    if s.stored.suspended:
        return resume(s)
    ending = ended(s)
    if ending is not None:
        return replace_lost(s, ending) if is_replaceable(s, ending) else end_attempt(s, ending)
    if unchecked(s):
        return check(s, defaults, refusal)
    late = overdue(s) or stalled(s)
    if late is not None:
        return end_attempt(s, late)
    return soonest(start(s, defaults, refusal), left_to_get_on(s))


def _accounted(step: Plan, s: Situation) -> Plan:
    """The step with the job's account brought up to date in the status that it writes anyway."""
    if step.status is None:
        return step
    return replace(step, status=ledger.brought_up(s.job.status, step.status, s.progress, s.now))


def soonest(step: Plan, *looks: float | None) -> Plan:
    """The step with another look no later than after the smallest of these seconds."""
    due = [look for look in (step.requeue_after, *looks) if look is not None]
    return replace(step, requeue_after=max(0.0, min(due)) if due else None)


def _held_back(step: Plan, s: Situation, period: float) -> Plan:
    """The step without a status that stands already, or whose only news are numbers that can wait."""
    if step.status is None:
        return step
    changed = statuses.changed_fields(s.job.status, step.status)
    untold = replace(step, status=None, can_wait=False)
    if changed <= {"lastUpdatedTime"}:
        return untold
    wait = numbers.wait(s.job.status, step.status, s.now, period) if changed <= numbers.FIELDS else 0.0
    return soonest(untold, wait) if wait > 0 else step
