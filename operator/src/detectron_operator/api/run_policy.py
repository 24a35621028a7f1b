"""When to run, to try again and to give up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from detectron_operator.api import fields
from detectron_operator.api.failure_policy import Rule, failure_rules
from detectron_operator.api.fields import Raw
from detectron_operator.shape import ShapeError

_PATH = "spec.runPolicy"


_YEAR = 31_536_000
_WEEK = 604_800


class CleanPodPolicy(StrEnum):
    """Which pods of an ended job go."""

    RUNNING = "Running"
    ALL = "All"


@dataclass(frozen=True, kw_only=True)
class RunPolicy:
    """`suspend` stops the gang; `backoff_limit` bounds its counted restarts, `max_backoff` the pauses.


    Deadlines that are None do not exist, but for `progress_deadline`, which then follows from the job's own
    iterations; one of zero is turned off. `time_to_live` is that of a finished job.
    """

    suspend: bool
    backoff_limit: int
    max_backoff: timedelta
    failure_rules: tuple[Rule, ...]
    active_deadline: timedelta | None
    startup_deadline: timedelta | None
    progress_deadline: timedelta | None
    time_to_live: timedelta | None
    clean_pods: CleanPodPolicy


def run_policy(spec: Raw) -> RunPolicy:
    """`spec.runPolicy`."""
    raw = fields.part(spec, "spec", "runPolicy")
    return RunPolicy(
        suspend=fields.boolean(raw, _PATH, "suspend"),
        backoff_limit=fields.integer(raw, _PATH, "backoffLimit", at_least=0, at_most=1000),
        max_backoff=timedelta(
            seconds=fields.integer(raw, _PATH, "maxBackoffSeconds", at_least=0, at_most=3600)
        ),
        failure_rules=failure_rules(raw, _PATH),
        active_deadline=fields.optional_seconds(raw, _PATH, "activeDeadlineSeconds", at_most=_YEAR),
        startup_deadline=fields.optional_seconds(raw, _PATH, "startupDeadlineSeconds", at_most=_YEAR),
        progress_deadline=fields.optional_seconds(raw, _PATH, "progressDeadlineSeconds", at_most=_WEEK),
        time_to_live=fields.optional_seconds(raw, _PATH, "ttlSecondsAfterFinished", at_most=_YEAR),
        clean_pods=_clean_pod_policy(fields.text(raw, _PATH, "cleanPodPolicy")),
    )


def _clean_pod_policy(word: str) -> CleanPodPolicy:
    try:
        return CleanPodPolicy(word)
    except ValueError as error:
        raise ShapeError(
            f"{_PATH}.cleanPodPolicy", f"is {word!r}, must be one of {', '.join(CleanPodPolicy)}"
        ) from error
