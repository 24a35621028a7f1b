"""Machine-stable words of conditions, failures and events, and the phases for the printer column.

A word's docstring is its row in docs/reasons.md, which `python -m reference` writes: the places where it
stands, a colon, and what it means; without places it is said by Running alone. Places are conditions,
`Event`, `Failure` (`.status.failure`) and `Verdict`. That whatever makes another condition true has an event
goes without saying.
"""

from __future__ import annotations

from typing import Final, Literal, NewType

# The phase of a job that the operator has not looked at yet; only metrics have it.
NEW = "New"
PENDING = "Pending"
RUNNING = "Running"
RESTARTING = "Restarting"
SUSPENDED = "Suspended"
SUCCEEDED = "Succeeded"
FAILED = "Failed"
TERMINAL = frozenset({SUCCEEDED, FAILED})

Reason = NewType("Reason", str)
"""A word that stands here, or one that `word` took over: no other is told."""

CREATING = Reason("Creating")
"""An attempt is decided on; its pods are created, or wait until those of the one before have stopped."""
BACK_OFF = Reason("BackOff")
"""The attempt, or a replacement that an elastic gang can do without, waits until `nextAttemptTime`, or the
check until `preflight.nextStartTime`: the restarts come in a row, or a node did not take a pod."""
NAME_CONFLICT = Reason("NameConflict")
"""Running, Event: a child's name is taken, by what belongs to somebody else or is still being deleted; tried
again."""
CREATE_REFUSED = Reason("CreateRefused")
"""Running, Event: the API server does not take a child, for a quota, an admission policy, a service account
that is not there or an invalid field; tried again."""
CHECKING = Reason("Checking")
"""The job is checked before its gang is created."""
CHECK_PASSED = Reason("CheckPassed")
"""Running, Event: the check found nothing that keeps the job from training; `preflight` has its words."""
PREFLIGHT_FAILED = Reason("PreflightFailed")
"""Failed, Failure: the check ran out of memory or time, or into an error; the message says what to change."""
WAITING_FOR_PODS = Reason("WaitingForPods")
"""Not every pod runs yet, and none says why."""
SCHEDULING_GATED = Reason("SchedulingGated")
"""The gang waits in its queue: a scheduling gate, such as Kueue's, holds it back."""
GANG_RUNNING = Reason("GangRunning")
"""Every pod of the attempt runs; of an elastic gang node 0's and at least `minNodes` do."""
GANG_SHRUNK = Reason("GangShrunk")
"""An elastic gang trains on with fewer pods; a lost one has yet to stop before its replacement is created."""
SUSPENDING = Reason("Suspending")
"""Pods save a checkpoint and stop."""
SUSPEND_REQUESTED = Reason("SuspendRequested")
"""Suspended: no pod is left; `runPolicy.suspend` asked for it."""
REPLACEMENT_OVERDUE = Reason("ReplacementOverdue")
"""Restarting: no replacement of a lost pod ran in time, so that the whole gang starts anew; not counted."""
RESUMED = Reason("Resumed")
"""Suspended: `runPolicy.suspend` was unset."""
TRAINING_COMPLETED = Reason("TrainingCompleted")
"""Complete: node 0 ended with exit code 0."""
INVALID_SPEC = Reason("InvalidSpec")
"""Failed, Running, Failure: the object cannot be honoured as it is written; the message names the field. Of a
job whose pods live, where another operator took it, Running says so; it fails when they have ended."""
BACKOFF_LIMIT_EXCEEDED = Reason("BackoffLimitExceeded")
"""Failed: once more than `runPolicy.backoffLimit` allows; `failure` has the last cause."""
DEADLINE_EXCEEDED = Reason("DeadlineExceeded")
"""Failed, Failure: the job was active for longer than `runPolicy.activeDeadlineSeconds`."""
STARTUP_DEADLINE_EXCEEDED = Reason("StartupDeadlineExceeded")
"""Failed, Failure: not every pod ran within `runPolicy.startupDeadlineSeconds`; the message says why."""
PROGRESS_DEADLINE_EXCEEDED = Reason("ProgressDeadlineExceeded")
"""Restarting, Failure: the gang ran and did not get on, since a process hangs; counted."""
POD_DELETED = Reason("PodDeleted")
"""Restarting, Failure: a pod of a running gang was deleted, or lost with its node; not counted."""
NODE_LOST = Reason("NodeLost")
"""Restarting, Failure: the cluster hears nothing of a pod's node any more; not counted."""
POD_DISRUPTED = Reason("PodDisrupted")
"""Restarting, Failure: the cluster took a pod away: a drain, a preemption, a taint, a shutdown; not
counted."""
POD_REJECTED = Reason("PodRejected")
"""Restarting, Failure: a node did not take a pod that was scheduled to it; not counted, tried again after 10
s."""
PROCESS_FAILED = Reason("ProcessFailed")
"""Restarting, Failure: a process failed and nobody said why; counted."""
COMPLETED = Reason("Completed")
"""Verdict: training reached its end; a pod that fails after it has only failed to leave."""
PREEMPTED = Reason("Preempted")
"""Restarting, Failure: the trainer was asked to stop, and saved a checkpoint; not counted."""
CREATED = Reason("Created")
"""Event: the first attempt's children were created, or, of any attempt, those that had been refused."""

NORMAL: Final = frozenset(
    {
        CHECK_PASSED,
        CREATED,
        SUSPEND_REQUESTED,
        RESUMED,
        TRAINING_COMPLETED,
        POD_DELETED,
        POD_DISRUPTED,
        PREEMPTED,
    }
)
"""What somebody asked for, or the cluster is there to do; an event of any other word is a warning."""

# What the API server does not take, until something else changes.
REFUSALS = frozenset({NAME_CONFLICT, CREATE_REFUSED})
# Causes of a restart that leave the gang able to save a checkpoint.
DISRUPTIONS = frozenset({POD_DELETED, POD_DISRUPTED, NODE_LOST, POD_REJECTED, PREEMPTED})


def event_type(reason: Reason, *, fatal: bool = False) -> Literal["Normal", "Warning"]:
    """The type of an event; a job that fails is worth a warning, whatever was the cause."""
    return "Normal" if reason in NORMAL and not fatal else "Warning"


def word(said: str, *, otherwise: Reason) -> Reason:
    """What was said as a condition's reason, which the API server holds to 64 letters and digits."""
    kept = "".join(letter for letter in said if letter.isascii() and letter.isalnum())[:64]
    return Reason(kept) if kept[:1].isalpha() else otherwise
