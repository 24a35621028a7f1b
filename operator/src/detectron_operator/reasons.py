"""Machine-stable words of conditions and events, and the phases for the printer column.

A word's docstring is its row in docs/reasons.md, which `python -m reference` writes: the conditions that
carry it, a colon, and what it means; without conditions it is said by Running.
"""

from __future__ import annotations

# The phase of a job that the operator has not looked at yet; only metrics have it.
NEW = "New"
PENDING = "Pending"
RUNNING = "Running"
RESTARTING = "Restarting"
SUSPENDED = "Suspended"
SUCCEEDED = "Succeeded"
FAILED = "Failed"
TERMINAL = frozenset({SUCCEEDED, FAILED})

CREATING = "Creating"
"""An attempt is decided on; its pods are created, or wait until those of the one before have stopped."""
BACK_OFF = "BackOff"
"""The attempt waits until `nextAttemptTime`: the restarts come in a row."""
NAME_CONFLICT = "NameConflict"
"""A child's name is taken, by what belongs to somebody else or is still being deleted; tried again."""
CREATE_REFUSED = "CreateRefused"
"""The API server does not take a child, for a quota, an admission policy, a service account that is not there
or an invalid field; tried again."""
CHECKING = "Checking"
"""The job is checked before its gang is created."""
CHECK_PASSED = "CheckPassed"
"""The check found nothing that keeps the job from training; `preflight` has its words."""
PREFLIGHT_FAILED = "PreflightFailed"
"""Failed: the check ran out of memory or time, or into an error; the message says what to change."""
WAITING_FOR_PODS = "WaitingForPods"
"""Not every pod runs yet, and none says why."""
GANG_RUNNING = "GangRunning"
"""Every pod of the attempt runs."""
SUSPENDING = "Suspending"
"""Pods save a checkpoint and stop."""
SUSPEND_REQUESTED = "SuspendRequested"
"""Suspended: no pod is left; `runPolicy.suspend` asked for it."""
REPLACEMENT_OVERDUE = "ReplacementOverdue"
"""Restarting: no replacement of a lost pod ran in time, so that the whole gang starts anew; not counted."""
RESUMED = "Resumed"
"""Suspended: `runPolicy.suspend` was unset."""
TRAINING_COMPLETED = "TrainingCompleted"
"""Complete: node 0 ended with exit code 0."""
INVALID_SPEC = "InvalidSpec"
"""Failed: the object cannot be honoured as it is written; the message names the field."""
BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded"
"""Failed: once more than `runPolicy.backoffLimit` allows; `failure` has the last cause."""
DEADLINE_EXCEEDED = "DeadlineExceeded"
"""Failed: the job was active for longer than `runPolicy.activeDeadlineSeconds`."""
STARTUP_DEADLINE_EXCEEDED = "StartupDeadlineExceeded"
"""Failed: not every pod ran within `runPolicy.startupDeadlineSeconds`; the message says why."""
PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
"""Restarting: the gang ran and did not get on, since a process hangs; counted."""
POD_DELETED = "PodDeleted"
"""Restarting: a pod of a running gang was deleted, or lost with its node; not counted."""
NODE_LOST = "NodeLost"
"""Restarting: the cluster hears nothing of a pod's node any more; not counted."""
POD_DISRUPTED = "PodDisrupted"
"""Restarting: the cluster took a pod away: a drain, a preemption, a taint, a shutdown; not counted."""
POD_REJECTED = "PodRejected"
"""Restarting: a node did not take a pod that was scheduled to it; not counted, tried again after 10 s."""
PROCESS_FAILED = "ProcessFailed"
"""Restarting: a process failed and nobody said why; counted."""
COMPLETED = "Completed"
"""Verdict: training reached its end; a pod that fails after it has only failed to leave."""
PREEMPTED = "Preempted"
"""Restarting: the trainer was asked to stop, and saved a checkpoint; not counted."""
CREATED = "Created"
"""Event: the first attempt's children were created."""

# Causes of a restart that leave the gang able to save a checkpoint.
DISRUPTIONS = frozenset({POD_DELETED, POD_DISRUPTED, NODE_LOST, POD_REJECTED, PREEMPTED})


def word(said: str, *, otherwise: str) -> str:
    """What was said as a condition's reason, which the API server holds to 64 letters and digits."""
    kept = "".join(letter for letter in said if letter.isascii() and letter.isalnum())[:64]
    return kept if kept[:1].isalpha() else otherwise
