"""How long a job may take as a whole, and how long an attempt may take to start."""

from __future__ import annotations

from detectron_operator import ledger, reasons
from detectron_operator import status as statuses
from detectron_operator.observed import Pod
from detectron_operator.plan.finishing import fail
from detectron_operator.situation import Situation
from detectron_operator.status import Words
from detectron_operator.steps import Plan


def left_to_run(s: Situation) -> float | None:
    """Seconds until the job has been active for too long, None without such a deadline."""
    limit = s.job.spec.run_policy.active_deadline
    if limit is None:
        return None
    return limit.total_seconds() - ledger.read(s.job.status).spent(s.stored, s.now).active


def too_long(s: Situation) -> Plan:
    """Fail a job that took too long; its pods get the time to save what they have."""
    limit = s.job.spec.run_policy.active_deadline
    seconds = 0 if limit is None else limit.total_seconds()
    message = f"Active for longer than runPolicy.activeDeadlineSeconds, which is {seconds:.0f}"
    return fail(s, None, Words(reason=reasons.DEADLINE_EXCEEDED, message=message))


def left_to_start(s: Situation) -> float | None:
    """Seconds until the attempt has waited too long for all of its pods to run, None without a deadline.

    They count from the first of its pods, and where none could be created from when the job last ran.
    """
    limit = s.job.spec.run_policy.startup_deadline
    # Survivors that wait for the replacement of a pod have a patience of their own.
    if limit is None or s.history.replacements:
        return None
    since = min((pod.created for pod in s.gang.current.values()), default=None)
    if since is None and s.stored.reason in reasons.REFUSALS:
        turns = (statuses.turned(s.job.status, kind) for kind in ("Running", "Suspended"))
        since = max(filter(None, turns), default=None)
    return None if since is None else (since + limit - s.now).total_seconds()


def not_started(s: Situation, waiting: Words, waited_for: Pod | None) -> Plan:
    """Fail a job whose pods wait for what does not come, in the words of who knows what that is."""
    limit = s.job.spec.run_policy.startup_deadline
    seconds = 0 if limit is None else limit.total_seconds()
    said = waiting.message if s.gang.current or s.checker else s.job.status.get("message")
    message = f"Not every pod ran within runPolicy.startupDeadlineSeconds, {seconds:.0f}: {said}"
    words = Words(reason=reasons.STARTUP_DEADLINE_EXCEEDED, message=message)
    return fail(s, None, words, waited_for=waited_for)
