"""A gang that runs and does not get on: a process hangs, and all others wait for it.

The trainer's document tells how long rank 0 has not got on; a rank that hangs stops rank 0 too, in the
exchange of gradients. The thread that serves the document lives on while the one that trains hangs. Where
the whole process stands still it takes connections and does not answer, neither the operator nor the kubelet,
which finds the pod not ready. Neither silence alone says so: a network policy may keep the operator away, and
a process that is being started anew refuses connections. Where a network is cut that the operator needs too,
rank 0 tells the kubelet that it does not get on, and so the pod is not ready either.
"""

from __future__ import annotations

from datetime import timedelta

from detectron_operator import ledger, reasons
from detectron_operator import status as statuses
from detectron_operator.ending import Ending, hung
from detectron_operator.progress import Progress
from detectron_operator.situation import Situation

QUIET = timedelta(minutes=30)
"""How long a start, a step of an evaluation or a checkpoint may take unless the job says otherwise."""
MARGIN = timedelta(seconds=20)
"""Added to twice a slow iteration; polls and reports take up to ten seconds more."""
PROBED = timedelta(seconds=10)
"""How long the kubelet asks in vain before it says that a pod is not ready."""


def stalled(s: Situation) -> Ending | None:
    """The end of an attempt that has not got on for too long, with what follows; None while all is well."""
    first, left = s.gang.current.get(0), left_to_get_on(s)
    if first is None or left is None or left > 0:
        return None
    limit, idle = _patience(s), _idle(s)
    assert limit is not None
    assert idle is not None
    document = _document(s)
    doing = f"{document.phase} at iteration {document.iteration}" if document else "silent"
    message = (
        f"no progress for {idle.total_seconds():.0f} s, {doing}; {limit.total_seconds():.0f} s are allowed"
    )
    return hung(first, message).under(s.job.spec.run_policy.failure_rules)


def left_to_get_on(s: Situation) -> float | None:
    """Seconds until the gang counts as hung unless it gets on, None where nobody can tell."""
    if s.stored.phase != reasons.RUNNING or not s.gang.running:
        return None
    limit, idle = _patience(s), _idle(s)
    return None if limit is None or idle is None else (limit - idle).total_seconds()


def _patience(s: Situation) -> timedelta | None:
    """How long the gang may do what it does; of a user's own loop nobody knows unless the job says so."""
    asked = s.job.spec.run_policy.progress_deadline
    if asked is not None:
        return asked or None
    if "trainer" in s.job.spec.document:
        return None
    document = _document(s)
    slow = document.work.slow_iteration if document is not None and document.work is not None else None
    if document is None or document.phase != "Training" or slow is None:
        return QUIET
    return 2 * slow + MARGIN


def _idle(s: Situation) -> timedelta | None:
    """For how long rank 0 has not got on, None where it never spoke or waits for pods of the gang."""
    if not s.gang.running:
        return None
    first = s.gang.current.get(0)
    document = _document(s)
    told = document.work.idle if document is not None and document.work is not None else None
    if first is None or first.unready_since is None or not s.mute:
        return told
    earlier = ledger.read(s.job.status).told
    if told is None and (earlier is None or earlier.attempt != s.gang.attempt):
        return None
    running = statuses.true_since(s.job.status, "Running") or first.unready_since
    return max(told or timedelta(), s.now - max(running, first.unready_since) + PROBED)


def _document(s: Situation) -> Progress | None:
    """What this attempt's rank 0 has said."""
    return s.progress if s.progress is not None and s.progress.attempt == s.gang.attempt else None
