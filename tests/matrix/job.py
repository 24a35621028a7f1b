"""The job that has to succeed: digits on two nodes, short, with an evaluation at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.cluster.kubectl import Kubectl
from tests.cluster.training_job import TrainingJob, digits

MINUTES = 60.0
SHORT, LONG = 60, 600
"""Iterations: to see a job through, and to do things to the operators meanwhile."""


def job(kubectl: Kubectl, name: str, iterations: int, spec: Mapping[str, Any] | None = None) -> TrainingJob:
    """Not yet applied."""
    overrides = (
        f"SOLVER.MAX_ITER {iterations}",
        f"SOLVER.STEPS ({iterations - 10},)",
        f"SOLVER.CHECKPOINT_PERIOD {iterations // 2}",
        "TEST.EVAL_PERIOD 0",
    )
    return TrainingJob(kubectl, digits(name, overrides=overrides, **(spec or {})))


def wrong(status: Mapping[str, Any], iterations: int) -> list[str]:
    """What is not as it has to be of a job that succeeded undisturbed."""
    found = []
    if status.get("iteration") != iterations:
        found.append(f"succeeded at iteration {status.get('iteration')} of {iterations}")
    names = {metric["name"] for metric in status.get("evaluation", {}).get("metrics", ())}
    if "digits_validation/segm/AP" not in names:
        found.append(f"the evaluation tells of {sorted(names)}")
    attempts, goodput = status.get("attempt"), status.get("goodput", {})
    if (attempts, status.get("restarts"), goodput.get("workerRestarts", 0)) != (0, 0, 0):
        found.append(f"it was disturbed: attempt {attempts}, {goodput}")
    return found
