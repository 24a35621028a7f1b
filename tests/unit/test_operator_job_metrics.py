"""What is exported of each job."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from detectron_operator.job_metrics import JobCollector
from detectron_operator.metrics import Metrics

NOW = datetime(2026, 5, 1, 12, 0, 0, 500_000, tzinfo=UTC)

STATUS: dict[str, Any] = {
    "phase": "Failed",
    "attempt": 4,
    "iteration": 300,
    "maxIterations": 1200,
    "startTime": "2026-05-01T10:00:10Z",
    "completionTime": "2026-05-01T11:00:00Z",
    "lastUpdatedTime": "2026-05-01T10:59:00Z",
    "lastCheckpoint": {"iteration": 280, "path": "/output/model_0000279.pth", "time": "2026-05-01T10:58:00Z"},
    "restartsByReason": [{"reason": "NodeLost", "count": 1}, {"reason": "ProcessFailed", "count": 3}],
    "failure": {"reason": "ProcessFailed", "message": "rank 1 failed"},
    "goodput": {
        "percentage": 71,
        "usefulIterations": 300,
        "workerRestarts": 2,
        "usefulSeconds": 2500,
        "pendingSeconds": 20,
        "runningSeconds": 3400,
        "evaluatingSeconds": 400,
        "accountedTime": "2026-05-01T11:00:00Z",
        "losses": [
            {"cause": "NodeLost", "downSeconds": 60, "repeatedSeconds": 100, "iterations": 12},
            {"cause": "ProcessFailed", "downSeconds": 30},
        ],
    },
}


def job(name: str, status: object = None, namespace: str = "vision") -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": "2026-05-01T10:00:00Z"}
    return {"metadata": metadata} | ({} if status is None else {"status": status})


def exported(*jobs: dict[str, Any]) -> dict[str, float]:
    """Series and their values, as in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(JobCollector(lambda: jobs, lambda: NOW))
    lines = generate_latest(registry).decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {series: float(value) for series, value in pairs}


def test_everything_that_a_status_tells() -> None:
    in_namespace, named = 'job_namespace="vision"', 'training_job="cats"'
    of_job = f"{in_namespace},{named}"
    hour = 1777629600.0
    assert exported(job("cats", STATUS)) == {
        f'detectron_job_status_phase{{{in_namespace},phase="Failed",{named}}}': 1,
        f'detectron_job_failure_info{{{in_namespace},reason="ProcessFailed",{named}}}': 1,
        f'detectron_job_restarts_total{{{in_namespace},reason="NodeLost",{named}}}': 1,
        f'detectron_job_restarts_total{{{in_namespace},reason="ProcessFailed",{named}}}': 3,
        f"detectron_job_attempt{{{of_job}}}": 4,
        f"detectron_job_iteration{{{of_job}}}": 300,
        f"detectron_job_progress_ratio{{{of_job}}}": 0.25,
        f"detectron_job_created_timestamp_seconds{{{of_job}}}": hour,
        f"detectron_job_start_timestamp_seconds{{{of_job}}}": hour + 10,
        f"detectron_job_completion_timestamp_seconds{{{of_job}}}": hour + 3600,
        f"detectron_job_last_progress_timestamp_seconds{{{of_job}}}": hour + 3540,
        f"detectron_job_last_checkpoint_timestamp_seconds{{{of_job}}}": hour + 3480,
        f"detectron_job_goodput_ratio{{{of_job}}}": 0.71,
        f"detectron_job_useful_iterations{{{of_job}}}": 300,
        f"detectron_job_worker_restarts_total{{{of_job}}}": 2,
        **{
            f'detectron_job_wall_seconds{{{in_namespace},state="{state}",{named}}}': seconds
            for state, seconds in {
                "pending": 20,
                "running": 3400,
                "suspended": 0,
                "queued": 0,
                "down": 90,
            }.items()
        },
        **{
            f'detectron_job_trainer_seconds{{activity="{activity}",{of_job}}}': seconds
            for activity, seconds in {
                "starting": 0,
                "useful": 2500,
                "evaluating": 400,
                "checkpointing": 0,
                "repeated": 100,
            }.items()
        },
        f'detectron_job_lost_seconds{{cause="NodeLost",{of_job}}}': 160,
        f'detectron_job_lost_seconds{{cause="ProcessFailed",{of_job}}}': 30,
        f'detectron_job_lost_iterations{{cause="NodeLost",{of_job}}}': 12,
        f'detectron_job_lost_iterations{{cause="ProcessFailed",{of_job}}}': 0,
        "detectron_operator_unreadable_jobs": 0,
    }


def test_a_job_that_runs_tells_how_long_it_still_will() -> None:
    series = exported(job("cats", {"phase": "Running", "estimatedRemainingSeconds": 90}))
    named = 'detectron_job_estimated_remaining_seconds{job_namespace="vision",training_job="cats"}'
    assert series[named] == 90


def test_a_job_that_nobody_has_looked_at_yet() -> None:
    in_namespace, named = 'job_namespace="vision"', 'training_job="new"'
    of_job = f"{in_namespace},{named}"
    assert exported(job("new")) == {
        f'detectron_job_status_phase{{{in_namespace},phase="New",{named}}}': 1,
        f"detectron_job_created_timestamp_seconds{{{of_job}}}": 1777629600.0,
        "detectron_operator_unreadable_jobs": 0,
    }


def test_jobs_of_one_name_in_two_namespaces_are_two() -> None:
    series = exported(job("cats", namespace="a"), job("cats", namespace="b"))
    assert sum("status_phase" in name for name in series) == 2


def test_a_status_of_another_shape_costs_the_others_nothing() -> None:
    broken = [
        job("x", "text"),
        job("y", {"phase": 7}),
        job("z", {"restartsByReason": [{"reason": "a", "count": -1}]}),
        job("w", {"goodput": {"usefulSeconds": "many"}}),
    ]
    series = exported(*broken, job("cats", STATUS))
    assert series["detectron_operator_unreadable_jobs"] == 4
    assert sum("status_phase" in name for name in series) == 1


@pytest.mark.parametrize(
    ("phase", "state", "before"),
    [
        ("Pending", "pending", 20),
        ("Running", "running", 3400),
        ("Suspended", "suspended", 0),
        ("Restarting", "down", 90),
    ],
)
def test_time_counts_on_in_the_state_that_a_job_is_in(phase: str, state: str, before: int) -> None:
    account = STATUS["goodput"] | {"cause": "NodeLost"}
    series = exported(job("cats", STATUS | {"phase": phase, "goodput": account}))

    def seconds(of: str) -> float:
        return series[
            f'detectron_job_wall_seconds{{job_namespace="vision",state="{of}",training_job="cats"}}'
        ]

    hour, three_days = 3600, 3 * 86400
    assert seconds(state) == before + hour
    others = {"pending": 20, "running": 3400, "suspended": 0, "down": 90}
    assert {of: seconds(of) for of in others if of != state} == {
        of: written for of, written in others.items() if of != state
    }
    account |= {"accountedTime": "2026-04-28T12:00:00Z"}
    series = exported(job("cats", STATUS | {"phase": phase, "goodput": account}))
    assert seconds(state) == before + three_days


def test_what_is_down_sinks_and_its_cause_answers_for_it() -> None:
    account = STATUS["goodput"] | {"cause": "NodeLost"}
    series = exported(job("cats", STATUS | {"phase": "Restarting", "goodput": account}))
    of_job = 'job_namespace="vision",training_job="cats"'
    assert series[f"detectron_job_goodput_ratio{{{of_job}}}"] == 0.35
    assert series[f'detectron_job_lost_seconds{{cause="NodeLost",{of_job}}}'] == 160 + 3600


def test_a_clock_behind_that_of_the_account_takes_nothing_away() -> None:
    account = STATUS["goodput"] | {"accountedTime": "2026-05-01T13:00:00Z"}
    series = exported(job("cats", STATUS | {"phase": "Pending", "goodput": account}))
    named = 'detectron_job_wall_seconds{job_namespace="vision",state="pending",training_job="cats"}'
    assert series[named] == 20


def test_looks_are_timed_by_what_came_of_them() -> None:
    metrics = Metrics("test")
    for result, seconds in (("done", 0.1), ("done", 0.3), ("unavailable", 10.0)):
        metrics.reconciled(result, seconds)
    read = metrics.registry.get_sample_value
    timed = "detectron_operator_reconcile_duration_seconds"
    for result, count, total in (("done", 2, 0.4), ("unavailable", 1, 10.0)):
        assert read(f"{timed}_count", {"result": result}) == count
        assert read(f"{timed}_sum", {"result": result}) == pytest.approx(total)
        assert read("detectron_operator_reconcile_total", {"result": result}) == count
