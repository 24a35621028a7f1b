"""`spec.runPolicy`: the operator's business, judged here so that a laptop refuses what a cluster would."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from detectron_trainer.job.manifest.part import ClusterName, Part

Reason = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9]*$", max_length=64)]
ProgressDeadline = Literal[0] | Annotated[int, Field(ge=10, le=604800)]
"""Seconds; 0 turns it off."""
Signal = Annotated[str, StringConstraints(pattern=r"^SIG[A-Z0-9]+$", max_length=16)]


class FailureRule(Part):
    action: Literal["Restart", "RestartWithoutCounting", "Fail"]
    on_reasons: Annotated[tuple[Reason, ...], Field(max_length=32)] = ()
    on_exit_codes: Annotated[tuple[Annotated[int, Field(ge=1, le=255)], ...], Field(max_length=64)] = ()
    on_signals: Annotated[tuple[Signal, ...], Field(max_length=32)] = ()
    on_pod_conditions: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=316)], ...], Field(max_length=16)
    ] = ()

    @model_validator(mode="after")
    def _has_a_condition(self) -> Self:
        if not (self.on_reasons or self.on_exit_codes or self.on_signals or self.on_pod_conditions):
            raise ValueError("needs one of onReasons, onExitCodes, onSignals and onPodConditions")
        return self


class FailurePolicy(Part):
    rules: Annotated[tuple[FailureRule, ...], Field(min_length=1, max_length=20)]


class Kueue(Part):
    queue: ClusterName
    workload_priority_class: ClusterName | None = None


class Volcano(Part):
    queue: ClusterName | None = None
    scheduler_name: ClusterName = "volcano"


class Coscheduling(Part):
    schedule_timeout_seconds: Annotated[int, Field(ge=1, le=86400)] = 60
    scheduler_name: ClusterName = "scheduler-plugins-scheduler"


class SchedulingPolicy(Part):
    kueue: Kueue | None = None
    volcano: Volcano | None = None
    coscheduling: Coscheduling | None = None

    @model_validator(mode="after")
    def _names_one_scheduler(self) -> Self:
        if sum(each is not None for each in (self.kueue, self.volcano, self.coscheduling)) != 1:
            raise ValueError("needs exactly one of kueue, volcano and coscheduling")
        return self


class RunPolicy(Part):
    suspend: bool = False
    backoff_limit: Annotated[int, Field(ge=0, le=1000)] = 3
    max_backoff_seconds: Annotated[int, Field(ge=0, le=3600)] = 300
    failure_policy: FailurePolicy | None = None
    active_deadline_seconds: Annotated[int, Field(ge=1, le=31536000)] | None = None
    startup_deadline_seconds: Annotated[int, Field(ge=1, le=31536000)] | None = None
    progress_deadline_seconds: ProgressDeadline | None = None
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31536000)] | None = None
    clean_pod_policy: Literal["Running", "All"] = "Running"
    scheduling_policy: SchedulingPolicy | None = None
