"""Where a job's time and iterations went: to what was of use, repeated or lost, and by which cause.

The account stands in `.status.goodput`. Every status that is written brings it up to date: the time since the
last one goes to the phase that the job was in, and what rank 0's process tells of its work is added where it
is news. Nothing is written for the account alone, and whoever plans next carries it on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from detectron_operator import reasons, shape
from detectron_operator import status as statuses
from detectron_operator.numbers import timestamp
from detectron_operator.progress import Progress, Work

FIELD = "goodput"
MAX_CAUSES = 16
OTHER = "Other"
"""Takes the losses by further causes."""
ROLLBACK = "NonFiniteLoss"
"""Why a process goes back to an earlier iteration by itself."""
IN_PLACE = "WorkersRestarted"
"""Why another process trains in the same attempt: torchrun started it anew in its pod."""

_LARGEST = 2**53
_SUMS = {
    "pending": "pendingSeconds",
    "running": "runningSeconds",
    "suspended": "suspendedSeconds",
    "queued": "queuedSeconds",
    "starting": "startingSeconds",
    "useful": "usefulSeconds",
    "evaluating": "evaluatingSeconds",
    "checkpointing": "checkpointingSeconds",
    "useful_iterations": "usefulIterations",
    "worker_restarts": "workerRestarts",
}


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What a cause has cost: iterations to repeat, the seconds they had taken, and seconds without a gang."""

    iterations: int = 0
    repeated: int = 0
    down: int = 0


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the newest process of rank 0 has told, which is in the sums; seconds are whole."""

    attempt: int
    start_time: datetime
    iteration: int
    trained: int
    starting: int
    training: int
    evaluating: int
    checkpointing: int


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Seconds and iterations up to `until`.

    `pending`, `running`, `suspended`, `queued` and the losses' `down` share out the wall clock; `starting`,
    `useful`, `evaluating` and `checkpointing`, with the losses' `repeated`, are what the trainer tells of its
    part.
    `worker_restarts` counts how often rank 0 began anew within an attempt, and all other workers with it.
    `cause` is why the newest attempt was started.
    """

    until: datetime | None = None
    cause: str = ""
    pending: int = 0
    running: int = 0
    suspended: int = 0
    queued: int = 0
    starting: int = 0
    useful: int = 0
    evaluating: int = 0
    checkpointing: int = 0
    useful_iterations: int = 0
    worker_restarts: int = 0
    losses: Mapping[str, Loss] = field(default_factory=dict)
    told: Told | None = None

    @property
    def active(self) -> int:
        """Seconds in which the job was neither suspended nor held back in a queue."""
        return self.pending + self.running + sum(loss.down for loss in self.losses.values())

    @property
    def newest(self) -> int:
        """The latest attempt whose trainer has told of its work."""
        return self.told.attempt if self.told else 0

    @property
    def percentage(self) -> int:
        """Useful seconds in a hundred active ones; 0 before the first."""
        return min(100, 100 * self.useful // self.active) if self.active else 0

    def spent(self, stored: statuses.Stored, now: datetime) -> Ledger:
        """With the time until `now` given to what the job did; a clock that was set back adds nothing."""
        now = now.replace(microsecond=0)
        seconds = 0 if self.until is None else max(0, int((now - self.until).total_seconds()))
        later = replace(self, until=now)
        if stored.queued:
            return replace(later, queued=self.queued + seconds)
        if stored.phase == reasons.RESTARTING:
            return later.lost(self.cause, down=seconds)
        if stored.phase == reasons.SUSPENDED:
            return replace(later, suspended=self.suspended + seconds)
        if stored.phase == reasons.RUNNING:
            return replace(later, running=self.running + seconds)
        return replace(later, pending=self.pending + seconds)

    def lost(self, cause: str, *, iterations: int = 0, repeated: int = 0, down: int = 0) -> Ledger:
        """With a loss more."""
        known = cause in self.losses or len(self.losses) < MAX_CAUSES - 1
        word = cause if known and cause else OTHER
        old = self.losses.get(word, Loss())
        loss = Loss(
            iterations=old.iterations + iterations,
            repeated=old.repeated + repeated,
            down=old.down + down,
        )
        return replace(self, losses={**self.losses, word: loss}) if loss != Loss() else self

    def heard(self, progress: Progress) -> Ledger:
        """With what a document tells, unless it is older than what was told before."""
        if progress.work is None:
            return self
        new, old = _told(progress, progress.work), self.told
        if old is None or (new.attempt, new.start_time) > (old.attempt, old.start_time):
            begun = new.iteration - new.trained if old is None else old.iteration
            mean = old.training / old.trained if old is not None and old.trained else 0.0
            back = max(0, begun - (new.iteration - new.trained))
            if old is None or new.attempt > old.attempt:
                return self._with(new, None, begun, back, mean, self.cause)
            counted = replace(self, worker_restarts=self.worker_restarts + 1)
            return counted._with(new, None, begun, back, mean, IN_PLACE)
        if (new.attempt, new.start_time) < (old.attempt, old.start_time) or new.trained < old.trained:
            return self
        back = max(0, new.trained - old.trained - (new.iteration - old.iteration))
        mean = new.training / new.trained if new.trained else 0.0
        return self._with(new, old, old.iteration, back, mean, ROLLBACK)

    def _with(self, new: Told, old: Told | None, begun: int, back: int, mean: float, cause: str) -> Ledger:
        """What is `new` since `old` of the same process, which went `back` by so many iterations."""
        trained = self.useful + new.training - (old.training if old else 0)
        repeated = min(trained, round(back * mean))
        return replace(
            self.lost(cause, iterations=back, repeated=repeated),
            starting=self.starting + new.starting - (old.starting if old else 0),
            useful=trained - repeated,
            evaluating=self.evaluating + new.evaluating - (old.evaluating if old else 0),
            checkpointing=self.checkpointing + new.checkpointing - (old.checkpointing if old else 0),
            useful_iterations=max(0, self.useful_iterations + new.iteration - begun),
            told=new,
        )

    def ended(self, cause: str, idle: timedelta) -> Ledger:
        """With the end of an attempt; for the time that it stood `idle` before, the same cause answers."""
        seconds = min(self.running, int(idle.total_seconds()))
        return replace(self, running=self.running - seconds, cause=cause).lost(cause, down=seconds)

    def record(self) -> dict[str, object]:
        """As `.status.goodput`, without what is zero."""
        sums = {name: min(max(0, getattr(self, attribute)), _LARGEST) for attribute, name in _SUMS.items()}
        told: dict[str, object] = {name: value for name, value in sums.items() if value}
        if self.active:
            told["percentage"] = self.percentage
        if self.losses:
            told["losses"] = [
                {
                    "cause": cause,
                    "iterations": min(loss.iterations, _LARGEST),
                    "repeatedSeconds": min(loss.repeated, _LARGEST),
                    "downSeconds": min(loss.down, _LARGEST),
                }
                for cause, loss in sorted(self.losses.items())
            ]
        if self.until is not None:
            told["accountedTime"] = timestamp(self.until)
        if self.cause:
            told["cause"] = self.cause
        if self.told is not None:
            told["told"] = _record(self.told)
        return told


def read(status: Mapping[str, object]) -> Ledger:
    """The account of a status, an empty one where there is none yet."""
    raw = shape.mapping(status.get(FIELD, {}), f"status.{FIELD}")
    path = f"status.{FIELD}"
    listed = shape.sequence(raw.get("losses", ()), f"{path}.losses", at_most=MAX_CAUSES)
    losses = [shape.mapping(item, f"{path}.losses") for item in listed]
    until = raw.get("accountedTime")
    return Ledger(
        until=None if until is None else shape.time(until, f"{path}.accountedTime"),
        cause=shape.text(raw.get("cause", ""), f"{path}.cause", at_most=64),
        **{attribute: _count(raw, name) for attribute, name in _SUMS.items()},
        losses={
            shape.text(item.get("cause"), f"{path}.losses.cause", at_most=64): Loss(
                iterations=_count(item, "iterations"),
                repeated=_count(item, "repeatedSeconds"),
                down=_count(item, "downSeconds"),
            )
            for item in losses
        },
        told=_read_told(shape.mapping(raw["told"], f"{path}.told")) if "told" in raw else None,
    )


def brought_up(
    stored: Mapping[str, object], desired: Mapping[str, object], progress: Progress | None, now: datetime
) -> dict[str, object]:
    """The status to write, with the account as it is at that moment."""
    before, ledger = statuses.read(stored), read(stored)
    if not before.finished:
        ledger = ledger.spent(before, now)
    if progress is not None:
        ledger = ledger.heard(progress)
    cause = _cause(stored, desired)
    if cause is not None:
        stood = progress.work.idle if progress is not None and progress.work is not None else timedelta()
        ledger = ledger.ended(cause, stood if before.phase == reasons.RUNNING else timedelta())
    return {**desired, FIELD: ledger.record()}


def _cause(stored: Mapping[str, object], desired: Mapping[str, object]) -> str | None:
    """Why the gang ends, or loses a pod, by this status, None where it does not."""
    if desired.get("phase") == reasons.FAILED and stored.get("phase") not in reasons.TERMINAL:
        return statuses.condition_reason(desired, "Failed")
    same = desired.get("attempt", 0) == stored.get("attempt", 0)
    # Within an attempt too, where single pods are replaced.
    entered = desired.get("phase") == reasons.RESTARTING != stored.get("phase")
    if same and not entered:
        return None
    return statuses.condition_reason(desired, "Restarting") or reasons.SUSPEND_REQUESTED


def _told(progress: Progress, work: Work) -> Told:
    return Told(
        attempt=progress.attempt,
        start_time=work.start_time.replace(microsecond=0),
        iteration=progress.iteration,
        trained=work.trained,
        starting=int(work.starting.total_seconds()),
        training=int(work.training.total_seconds()),
        evaluating=int(work.evaluating.total_seconds()),
        checkpointing=int(work.checkpointing.total_seconds()),
    )


def _record(told: Told) -> dict[str, object]:
    return {
        "attempt": told.attempt,
        "startTime": timestamp(told.start_time),
        "iteration": told.iteration,
        "trainedIterations": told.trained,
        "startingSeconds": told.starting,
        "trainingSeconds": told.training,
        "evaluatingSeconds": told.evaluating,
        "checkpointingSeconds": told.checkpointing,
    }


def _read_told(raw: Mapping[str, object]) -> Told:
    return Told(
        attempt=_count(raw, "attempt"),
        start_time=shape.time(raw.get("startTime"), f"status.{FIELD}.told.startTime"),
        iteration=_count(raw, "iteration"),
        trained=_count(raw, "trainedIterations"),
        starting=_count(raw, "startingSeconds"),
        training=_count(raw, "trainingSeconds"),
        evaluating=_count(raw, "evaluatingSeconds"),
        checkpointing=_count(raw, "checkpointingSeconds"),
    )


def _count(raw: Mapping[str, object], key: str) -> int:
    return shape.integer(raw.get(key, 0), f"status.{FIELD}.{key}", at_least=0, at_most=_LARGEST)
