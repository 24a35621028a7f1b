"""All that a decision about a job rests on, and the complete status that a decision leads to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from detectron_operator import ledger, numbers, reasons
from detectron_operator import status as statuses
from detectron_operator.api import TrainingJob
from detectron_operator.ending import Ending
from detectron_operator.gang import Gang
from detectron_operator.history import History
from detectron_operator.observed import Pod
from detectron_operator.progress import Progress
from detectron_operator.status import Stored, Words


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A job, what its status says was decided, its pods, and what its trainer reports.

    `checker` is the pod that checks the job before its gang exists. `mute` says that rank 0 takes connections
    and does not answer.
    """

    job: TrainingJob
    stored: Stored
    gang: Gang
    checker: Pod | None
    progress: Progress | None
    mute: bool
    numbers: Mapping[str, object]
    now: datetime

    @property
    def history(self) -> History:
        """As it stands: a status may lag behind the pods, and a pause that is over is no longer told."""
        stored = self.stored.history.in_attempt(self.gang.attempt)
        return stored if self.pause > 0 else replace(stored, not_before=None)

    @property
    def ran(self) -> bool:
        """Whether the attempt is known to have run."""
        return self.stored.phase == reasons.RUNNING and self.stored.history.attempt == self.gang.attempt

    @property
    def vanished(self) -> frozenset[int]:
        """Node indexes whose pod is gone without a word, as far as the status tells that it was there.

        An elastic gang that runs may lack pods that are yet to be created: those that it has grown by, and
        replacements that wait. One that gathers lacks any but node 0's, which is there before the others.
        """
        missing = frozenset(range(self.gang.size)) - self.gang.current.keys()
        if not self.job.spec.elastic_policy.elastic:
            return missing if self.ran else frozenset()
        seen = self.job.status.get("observedGeneration") == self.job.generation
        if self.ran and self.stored.reason == reasons.GANG_RUNNING and seen:
            return missing
        return missing & {0} if self.ran or self.gang.current else frozenset()

    @property
    def pause(self) -> float:
        """Seconds until the attempt may start."""
        return self.stored.history.left(self.now)

    def iteration_in(self, attempt: int) -> int | None:
        """The last iteration that the trainer told of in an attempt, None where it told of none."""
        if self.progress is not None and self.progress.attempt == attempt:
            return self.progress.iteration
        told = ledger.read(self.job.status).told
        return told.iteration if told is not None and told.attempt == attempt else None

    def record(self, ending: Ending) -> dict[str, object]:
        """All that is known of an ending, as a status tells it."""
        iteration = self.iteration_in(ending.attempt)
        return ({} if iteration is None else {"iteration": iteration}) | ending.record()

    def status(
        self,
        phase: str,
        words: Words,
        *,
        cause: Words | None = None,
        history: History | None = None,
        replicas: Mapping[str, int] | None = None,
    ) -> dict[str, object]:
        """The complete status in a phase; history and pods are as they stand by default."""
        old = self.job.status
        told = history or self.history
        if phase not in (reasons.RESTARTING, reasons.RUNNING):
            told = replace(told, not_before=None)
        desired: dict[str, object] = {
            "observedGeneration": self.job.generation,
            "phase": phase,
            "message": words.bounded,
            "conditions": statuses.conditions(
                old, phase=phase, words=words, cause=cause, generation=self.job.generation, now=self.now
            ),
            **told.record(),
            "replicaStatuses": dict(self.gang.replicas() if replicas is None else replicas),
            **self.numbers_in(phase),
        }
        desired |= {field: old[field] for field in (ledger.FIELD, "preflight") if field in old}
        if self.stored.started or phase != reasons.SUSPENDED:
            desired["startTime"] = old.get("startTime", numbers.timestamp(self.now))
        if phase in reasons.TERMINAL:
            desired["completionTime"] = numbers.timestamp(self.now)
        return desired

    def numbers_in(self, phase: str) -> dict[str, object]:
        """The trainer's numbers; only what runs has an ETA."""
        return dict(self.numbers) if phase == reasons.RUNNING else numbers.without_outlook(self.numbers)
