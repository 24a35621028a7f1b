"""The check of a job before its gang exists: a mistake is told before any GPU is held for it."""

from __future__ import annotations

from detectron_operator import names, reasons, shape
from detectron_operator.ending import Ending, last_words, of_pods
from detectron_operator.gang import stuck
from detectron_operator.loss import is_lost
from detectron_operator.manifests.preflight import preflight_pod
from detectron_operator.numbers import timestamp
from detectron_operator.observed import Pod
from detectron_operator.plan.children import mounted, refused
from detectron_operator.plan.deadlines import not_started
from detectron_operator.plan.deleting import deletions
from detectron_operator.plan.finishing import fail
from detectron_operator.situation import Situation
from detectron_operator.status import Words
from detectron_operator.steps import CreateChild, Defaults, DeletePod, Event, Plan, Refusal

FIELD = "preflight"

_CHECKING, _PASSED, _FAILED = "Checking", "Passed", "Failed"


def unchecked(s: Situation) -> bool:
    """Whether the gang has to wait for the check; one that exists has passed it, or was never asked to."""
    return s.job.spec.preflight.enabled and not s.gang.pods and _stored(s).get("phase") != _PASSED


def check(s: Situation, defaults: Defaults, refusal: Refusal | None) -> Plan:
    """Bring the check one step on."""
    pod = s.checker
    if pod is None:
        return _begin(s, defaults, refusal)
    if pod.phase == "Succeeded":
        return _pass(s, pod)
    if pod.phase == "Failed":
        return _judge(s, pod, of_pods([pod])[0])
    return _wait(s, pod)


def dismissed(s: Situation) -> tuple[DeletePod, ...]:
    """The check's pod, once nobody waits for it any more."""
    waited_for = unchecked(s) and not (s.stored.finished or s.job.spec.run_policy.suspend)
    return () if s.checker is None or waited_for else deletions([s.checker], None, s.now)


def _begin(s: Situation, defaults: Defaults, refusal: Refusal | None) -> Plan:
    pod = preflight_pod(s.job, defaults.trainer_image)
    children = (*mounted(s.job), CreateChild("Pod", names.preflight_pod(s.job.name), pod))
    words = _words(s) if refusal is None else refusal.words
    return Plan(create=children, status=_status(s, words, _CHECKING), events=refused(s, refusal))


def _wait(s: Situation, pod: Pod) -> Plan:
    words = stuck(pod) if pod.phase == "Pending" and pod.reason else _words(s)
    limit = s.job.spec.run_policy.startup_deadline
    left = None
    if limit is not None and pod.phase == "Pending":
        left = (pod.created + limit - s.now).total_seconds()
    if left is not None and left <= 0:
        return not_started(s, words, pod)
    lost = deletions([pod], None, s.now) if is_lost(pod, s.now) else ()
    return Plan(status=_status(s, words, _CHECKING), delete=lost, requeue_after=left)


def _pass(s: Situation, pod: Pod) -> Plan:
    document = last_words(pod)
    said = document.verdict.message if document and document.verdict else "no problems"
    words = Words(reason=reasons.CHECK_PASSED, message=f"Checked: {said}")
    return Plan(
        status=_status(s, words, _PASSED, message=said),
        events=(Event(words.reason, words.bounded),),
        requeue_after=0.0,
    )


def _judge(s: Situation, pod: Pod, ending: Ending) -> Plan:
    """Fail the job for what was found, or for a check that cannot be made; one taken away is made anew."""
    late = pod.reason == "DeadlineExceeded"
    if ending.action == "RestartWithoutCounting" and not late:
        return Plan(status=_status(s, _words(s), _CHECKING), delete=deletions([pod], None, s.now))
    words = Words(reason=ending.reason, message=ending.message)
    if ending.action != "Fail":
        advice = "give it more by spec.preflight, or turn it off by spec.preflight.enabled"
        words = Words(
            reason=reasons.PREFLIGHT_FAILED, message=f"The check was not made: {ending.sentence()}; {advice}"
        )
    step = fail(s, ending, words)
    record = {FIELD: _record(s, _FAILED, ending.message)}
    return Plan(status={**(step.status or {}), **record}, events=step.events, requeue_after=0.0)


def _words(s: Situation) -> Words:
    return Words(
        reason=reasons.CHECKING, message=f"Checking the job before its gang of {s.gang.in_words} is created"
    )


def _status(s: Situation, words: Words, phase: str, *, message: str | None = None) -> dict[str, object]:
    return s.status(reasons.PENDING, words) | {FIELD: _record(s, phase, message)}


def _record(s: Situation, phase: str, message: str | None) -> dict[str, object]:
    """`.status.preflight`."""
    record = {"phase": phase, "startTime": _stored(s).get("startTime", timestamp(s.now))}
    if phase != _CHECKING:
        record["completionTime"] = timestamp(s.now)
    return record | ({"message": message[:4096]} if message else {})


def _stored(s: Situation) -> dict[str, object]:
    return dict(shape.mapping(s.job.status.get(FIELD, {}), f"status.{FIELD}"))
