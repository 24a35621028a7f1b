"""The check of a job before its gang exists: a mistake is told before any GPU is held for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from detectron_operator import names, reasons, shape
from detectron_operator.ending import Ending, last_words, of_pods, vanished
from detectron_operator.gang import stuck
from detectron_operator.history import MAX_PAUSE
from detectron_operator.loss import OVERDUE, is_lost
from detectron_operator.manifests.preflight import preflight_pod
from detectron_operator.numbers import timestamp
from detectron_operator.observed import Pod
from detectron_operator.plan.children import mounted, refused
from detectron_operator.plan.deadlines import left_to_start, not_started
from detectron_operator.plan.deleting import deletions
from detectron_operator.plan.finishing import fail
from detectron_operator.plan.restarting import pause_before
from detectron_operator.situation import Situation
from detectron_operator.status import Words
from detectron_operator.steps import CreateChild, Defaults, DeletePod, Event, Plan, Refusal

FIELD = "preflight"

_CHECKING, _PASSED, _FAILED = "Checking", "Passed", "Failed"
_RESTARTS, _DUE = "restarts", "nextStartTime"


def unchecked(s: Situation) -> bool:
    """Whether the gang has to wait for the check; one that exists has passed it, or was never asked to."""
    return s.job.spec.preflight.enabled and not s.gang.pods and _stored(s).get("phase") != _PASSED


def check(s: Situation, defaults: Defaults, refusal: Refusal | None) -> Plan:
    """Bring the check one step on; a pod of it that a node rejected stays until the pause is over."""
    pod = s.checker
    if pod is not None and pod.alive:
        return _wait(s, pod)
    if pod is not None and pod.phase == "Succeeded":
        return _pass(s, pod)
    lost = _lost(s)
    if pod is not None and lost is None:
        return _fail(s, pod)
    if lost is not None and _DUE not in _stored(s):
        return _put_off(s, lost)
    left = _pause_left(s)
    if left > 0:
        return Plan(status=_status(s, _pausing(_stored(s)), _stored(s)), requeue_after=left)
    if pod is None:
        return _begin(s, defaults, refusal)
    # Its name is needed for the next one.
    return Plan(delete=deletions([pod], None, s.now), requeue_after=OVERDUE.total_seconds())


def dismissed(s: Situation) -> tuple[DeletePod, ...]:
    """The check's pod, once nobody waits for it any more."""
    waited_for = unchecked(s) and not (s.stored.finished or s.job.spec.run_policy.suspend)
    return () if s.checker is None or waited_for else deletions([s.checker], None, s.now)


def _begin(s: Situation, defaults: Defaults, refusal: Refusal | None) -> Plan:
    left = left_to_start(s)
    if refusal is not None:
        # What the record tells is that there has been a pod.
        status = s.status(reasons.PENDING, refusal.words)
        return Plan(status=status, events=refused(s, refusal), requeue_after=left)
    if left is not None and left <= 0:
        return not_started(s, _words(s), None)
    pod = preflight_pod(s.job, defaults.trainer_image)
    children = (*mounted(s.job), CreateChild("Pod", names.preflight_pod(s.job.name), pod))
    return Plan(create=children, status=_status(s, _words(s), _record(s, _CHECKING)), requeue_after=left)


def _wait(s: Situation, pod: Pod) -> Plan:
    words = stuck(pod) if pod.phase == "Pending" and pod.reason else _words(s)
    limit = s.job.spec.run_policy.startup_deadline
    left = None
    if limit is not None and pod.phase == "Pending":
        left = (pod.created + limit - s.now).total_seconds()
    if left is not None and left <= 0:
        return not_started(s, words, pod)
    lost = deletions([pod], None, s.now) if is_lost(pod, s.now) else ()
    return Plan(status=_status(s, words, _record(s, _CHECKING)), delete=lost, requeue_after=left)


def _pass(s: Situation, pod: Pod) -> Plan:
    document = last_words(pod)
    said = document.verdict.message if document and document.verdict else "no problems"
    words = Words(reason=reasons.CHECK_PASSED, message=f"Checked: {said}")
    return Plan(
        status=_status(s, words, _record(s, _PASSED, said)),
        events=(Event(words.reason, words.bounded),),
        requeue_after=0.0,
    )


def _lost(s: Situation) -> Ending | None:
    """How the check's pod was taken away, or not taken by its node, None where it ended by itself."""
    if s.checker is None:
        # What follows a suspension has dismissed the pod on purpose.
        had_one = _stored(s).get("phase") == _CHECKING and s.stored.reason != reasons.CREATING
        return vanished(names.preflight_pod(s.job.name), 0, 0) if had_one else None
    ending = of_pods([s.checker])[0]
    late = s.checker.reason == "DeadlineExceeded"
    return ending if ending.action == "RestartWithoutCounting" and not late else None


def _put_off(s: Situation, lost: Ending) -> Plan:
    """Write down when the check is made anew, after the same pauses as a gang; then follow it."""
    restarts = _restarts(s) + 1
    pause = pause_before(s, lost, restarts)
    record = _record(s, _CHECKING, lost.sentence()) | {_RESTARTS: restarts, _DUE: timestamp(s.now + pause)}
    event = Event(lost.reason, f"Checking anew: {lost.sentence()}")
    status = _status(s, _pausing(record), record)
    return Plan(status=status, events=(event,), requeue_after=pause.total_seconds())


def _pausing(record: Mapping[str, object]) -> Words:
    message = f"The check is made anew at {record.get(_DUE)}: {record.get('message')}"
    return Words(reason=reasons.BACK_OFF, message=message)


def _pause_left(s: Situation) -> float:
    """Seconds until the check is made anew; longer than any pause means a clock that was set."""
    due = _stored(s).get(_DUE)
    if due is None:
        return 0.0
    left = shape.time(due, f"status.{FIELD}.{_DUE}") - s.now
    return left.total_seconds() if timedelta() < left <= MAX_PAUSE else 0.0


def _fail(s: Situation, pod: Pod) -> Plan:
    """Fail the job for what was found, or for a check that cannot be made."""
    ending = of_pods([pod])[0]
    words = Words(reason=ending.reason, message=ending.message)
    if ending.action != "Fail":
        advice = "give it more by spec.preflight, or turn it off by spec.preflight.enabled"
        words = Words(
            reason=reasons.PREFLIGHT_FAILED, message=f"The check was not made: {ending.sentence()}; {advice}"
        )
    step = fail(s, replace(ending, reason=words.reason, message=words.message), words)
    record = {FIELD: _record(s, _FAILED, ending.message)}
    return Plan(status={**(step.status or {}), **record}, events=step.events, requeue_after=0.0)


def _words(s: Situation) -> Words:
    return Words(
        reason=reasons.CHECKING, message=f"Checking the job before its gang of {s.gang.in_words} is created"
    )


def _status(s: Situation, words: Words, record: Mapping[str, object]) -> dict[str, object]:
    return s.status(reasons.PENDING, words) | {FIELD: dict(record)}


def _record(s: Situation, phase: str, message: str | None = None) -> dict[str, object]:
    """`.status.preflight`; that it is there shows that there has been a pod."""
    record: dict[str, object] = {
        "phase": phase,
        "startTime": _stored(s).get("startTime", timestamp(s.now)),
    }
    if phase != _CHECKING:
        record["completionTime"] = timestamp(s.now)
    if _restarts(s):
        record[_RESTARTS] = _restarts(s)
    return record | ({"message": message[:4096]} if message else {})


def _restarts(s: Situation) -> int:
    path = f"status.{FIELD}.{_RESTARTS}"
    return shape.integer(_stored(s).get(_RESTARTS, 0), path, at_least=0, at_most=2**31)


def _stored(s: Situation) -> dict[str, object]:
    return dict(shape.mapping(s.job.status.get(FIELD, {}), f"status.{FIELD}"))
