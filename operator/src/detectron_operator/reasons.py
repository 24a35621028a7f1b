"""Machine-stable words of conditions and events, and the phases for the printer column."""

from __future__ import annotations

NEW = "New"
"""The phase of a job that the operator has not looked at yet."""
PENDING = "Pending"
RUNNING = "Running"
RESTARTING = "Restarting"
SUSPENDED = "Suspended"
SUCCEEDED = "Succeeded"
FAILED = "Failed"
TERMINAL = frozenset({SUCCEEDED, FAILED})

CREATING = "Creating"
"""An attempt is decided on; its children are not yet known to exist."""
BACK_OFF = "BackOff"
"""An attempt is decided on; it is too soon after the last ones to start it."""
NAME_CONFLICT = "NameConflict"
"""An object of somebody else has the name of a child."""
CREATE_REFUSED = "CreateRefused"
"""The API server does not take a child: a quota, an admission policy, an invalid field."""
WAITING_FOR_PODS = "WaitingForPods"
"""All children exist; not every pod runs yet, and none says why."""
GANG_RUNNING = "GangRunning"
"""Every pod of the attempt runs."""
SUSPENDING = "Suspending"
"""Pods are saving a checkpoint and stopping."""
SUSPEND_REQUESTED = "SuspendRequested"
"""No pod is left; runPolicy.suspend asked for it."""
RESUMED = "Resumed"
"""runPolicy.suspend was unset."""
TRAINING_COMPLETED = "TrainingCompleted"
"""Node 0 ended with exit code 0."""
INVALID_SPEC = "InvalidSpec"
"""The object cannot be honoured as it is written."""
BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded"
"""It failed once more than runPolicy.backoffLimit allows."""
POD_DELETED = "PodDeleted"
"""A pod of a running gang was deleted by somebody, or lost with its node."""
NODE_LOST = "NodeLost"
"""The cluster hears nothing of a pod's node any more."""
POD_DISRUPTED = "PodDisrupted"
"""The cluster took a pod away: an eviction, a preemption, a taint, a node's shutdown."""
POD_REJECTED = "PodRejected"
"""A kubelet did not take a pod that was scheduled to it; its container never started."""
PROCESS_FAILED = "ProcessFailed"
"""A pod ended without a verdict and the kubelet does not say why."""
COMPLETED = "Completed"
"""The trainer's verdict at the end; a pod that fails after it has only failed to leave."""
PREEMPTED = "Preempted"
"""The trainer's verdict where it was asked to stop and saved a checkpoint."""
DISRUPTIONS = frozenset({POD_DELETED, POD_DISRUPTED, NODE_LOST, POD_REJECTED, PREEMPTED})
"""Causes of a restart that leave the gang able to save a checkpoint."""

CREATED = "Created"
"""Event: the first attempt's children were created."""


def word(said: str, *, otherwise: str) -> str:
    """What was said as a condition's reason, which the API server holds to 64 letters and digits."""
    kept = "".join(letter for letter in said if letter.isascii() and letter.isalnum())[:64]
    return kept if kept[:1].isalpha() else otherwise
