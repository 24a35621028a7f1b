"""A job that this operator cannot honour as it is written, though an earlier one may have started it.

Training is not taken away for words that only another operator knows: while node 0's pod lives the job stays
in its phase and says what is the matter. It ends once none of its pods is alive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from detectron_operator import ledger, numbers, reasons, shape
from detectron_operator import status as statuses
from detectron_operator.api import SpecError
from detectron_operator.api.run_policy import run_policy
from detectron_operator.ending import last_words
from detectron_operator.gang import replica_statuses
from detectron_operator.loss import is_lost, next_loss
from detectron_operator.observed import Pod
from detectron_operator.plan.cleaning import left_to_live
from detectron_operator.plan.deleting import FAILURE_GRACE_SECONDS, deletions
from detectron_operator.progress import Progress
from detectron_operator.shape import ShapeError
from detectron_operator.status import Words
from detectron_operator.steps import Event, Plan

_ADVICE = (
    "Its pods are left as they are, and the job fails when they have ended: correct the field, or go back to"
    " the operator that took it; to stop them, delete the job"
)


@dataclass(frozen=True, kw_only=True)
class _Remains:
    """What is known of such a job without its spec."""

    generation: int
    status: Mapping[str, object]
    pods: Sequence[Pod]
    now: datetime

    @property
    def firsts(self) -> list[Pod]:
        """Node 0's pods."""
        return [pod for pod in self.pods if pod.index == 0 and not pod.preflight]

    @property
    def completed(self) -> bool:
        """Whether training is complete."""
        return any(pod.phase == "Succeeded" for pod in self.firsts)

    @property
    def trains(self) -> bool:
        """Whether the gang may still get on, which it does not without node 0."""
        return not self.completed and any(
            pod.alive and not pod.deleting and not is_lost(pod, self.now) for pod in self.firsts
        )

    @property
    def words(self) -> Progress | None:
        """The newest of what node 0 left behind."""
        left = (words for words in map(last_words, self.firsts) if words is not None)
        return max(left, key=lambda words: (words.attempt, words.last_updated_time), default=None)

    @property
    def newest(self) -> list[Pod]:
        """The pods of the last attempt, without those that were replaced."""
        gang = sorted(
            (pod for pod in self.pods if not pod.preflight), key=lambda pod: (pod.attempt, pod.replacement)
        )
        return list({pod.index: pod for pod in gang if pod.attempt == gang[-1].attempt}.values())

    def told(self, phase: str, words: Words, **fields: object) -> dict[str, object]:
        """The stored status, in a phase."""
        conditions = statuses.conditions(
            self.status, phase=phase, words=words, cause=None, generation=self.generation, now=self.now
        )
        return {
            "startTime": numbers.timestamp(self.now),
            **self.status,
            "observedGeneration": self.generation,
            "phase": phase,
            "message": words.bounded,
            "conditions": conditions,
            **fields,
        }


def plan_invalid(raw: Mapping[str, object], pods: Sequence[Pod], error: SpecError, now: datetime) -> Plan:
    """The step for an object that cannot be parsed, with the pods that are its own."""
    metadata, status = raw.get("metadata"), raw.get("status")
    known = metadata if isinstance(metadata, Mapping) else {}
    if known.get("deletionTimestamp") is not None:
        return Plan()
    generation = known.get("generation")
    job = _Remains(
        generation=generation if isinstance(generation, int) else 0,
        status=status if isinstance(status, Mapping) else {},
        pods=pods,
        now=now,
    )
    alive = [pod for pod in pods if pod.alive]
    over = job.status.get("phase") in reasons.TERMINAL
    if over:
        step = _clean_up(raw.get("spec"), job)
    elif alive:
        step = _hold(job, error)
    else:
        step = _end(job, error)
    leaving = [pod for pod in alive if over or not job.trains or is_lost(pod, now)]
    due = [seconds for seconds in (step.requeue_after, next_loss(alive, now)) if seconds is not None]
    return replace(
        step, delete=deletions(leaving, FAILURE_GRACE_SECONDS, now), requeue_after=min(due, default=None)
    )


def _hold(job: _Remains, error: SpecError) -> Plan:
    words = Words(reason=reasons.INVALID_SPEC, message=f"{error}. {_ADVICE}")
    desired = job.told(str(job.status.get("phase") or reasons.PENDING), words)
    if not statuses.changed_fields(job.status, desired):
        return Plan()
    known = statuses.read(job.status).reason == words.reason
    return Plan(
        status=ledger.brought_up(job.status, desired, None, job.now),
        events=() if known else (Event(words.reason, words.bounded),),
    )


def _end(job: _Remains, error: SpecError) -> Plan:
    """The end, for what node 0 says of it where training is complete."""
    phase, words = reasons.FAILED, Words(reason=reasons.INVALID_SPEC, message=str(error))
    if job.completed:
        phase = reasons.SUCCEEDED
        words = Words(reason=reasons.TRAINING_COMPLETED, message="Training completed")
    desired = job.told(phase, words, completionTime=numbers.timestamp(job.now))
    desired = numbers.without_outlook(desired | numbers.merged(desired, job.words))
    desired.pop("nextAttemptTime", None)
    if job.newest:
        desired["replicaStatuses"] = replica_statuses(job.newest)
    if phase == reasons.FAILED:
        desired["failure"] = {"reason": words.reason, "message": words.bounded}
    return Plan(
        status=ledger.brought_up(job.status, desired, job.words, job.now),
        events=(Event(words.reason, words.bounded, fatal=phase == reasons.FAILED),),
    )


def _clean_up(spec: object, job: _Remains) -> Plan:
    """The deletion of one that has ended, where at least its runPolicy can be read."""
    try:
        live = run_policy(shape.mapping(spec, "spec")).time_to_live
    except ShapeError:
        return Plan()
    left = left_to_live(job.status, live, job.now)
    return Plan(delete_job=True) if left is not None and left <= 0 else Plan(requeue_after=left)
