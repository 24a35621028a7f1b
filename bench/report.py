"""What was measured, for machines as JSON and for people as a table."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Creation:
    """Jobs applied one by one, then all at once.

    Attributes:
        idle: from applying a job until its last pod was there, for each of the jobs that came one by one.
        burst_seconds: from applying the first of all jobs at once until the last pod was there.
        requests_per_job: the operator's own, by verb and resource, over the burst until all settled.
        writes_per_job: those of all clients of the API server over the same time.
        cpu_per_job: the operator's CPU time over the burst.
        resident_before, resident_after, peak: the operator's memory.
    """

    idle: Sequence[float]
    burst_seconds: float
    requests_per_job: dict[str, float]
    writes_per_job: float
    cpu_per_job: float
    resident_before: float
    resident_after: float
    peak: float


@dataclass(frozen=True, kw_only=True)
class Losses:
    """From the loss of one pod until as many run as before, for each job that lost one; `of_gang` for each
    whose first pod failed, so that all are new.
    """

    after_deletion: Sequence[float]
    after_failure: Sequence[float]
    of_gang: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Restart:
    """From the start of the process until it has looked at every running job; what it wrote meanwhile."""

    seconds: float
    writes: int
    resident: float


@dataclass(frozen=True, kw_only=True)
class HandOver:
    """From telling the leader to stop, or killing it, until the other one has created a job's pods."""

    after_stop: float
    after_kill: float


@dataclass(frozen=True)
class Bare:
    """Seconds that clients which do nothing else need for the burst's jobs, and then for their children."""

    jobs: float
    children: float


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round on an API server of its own. Times in seconds, memory in MiB."""

    bare: Bare
    creation: Creation
    losses: Losses
    restart: Restart
    hand_over: HandOver


def machine() -> dict[str, object]:
    """What the numbers depend on."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    models = {line.split(":", 1)[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")}
    memory = Path("/proc/meminfo").read_text().split()[1]
    return {
        "cpu": ", ".join(sorted(models)),
        "cores": len(os.sched_getaffinity(0)),
        "memoryGiB": round(int(memory) / 2**20, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def table(rounds: Sequence[Round], jobs: int, pods: int) -> str:
    """One line a number: the median of the rounds, and their spread."""
    rows = [*_creation(rounds, jobs, pods), *_afterwards(rounds)]
    made = [r.creation.requests_per_job for r in rounds]
    rows += [
        (f"operator: {request} per job", [found.get(request, 0.0) for found in made], 2)
        for request in sorted({name for found in made for name in found})
    ]
    width = max(len(title) for title, _, _ in rows)
    lines = [f"{'':{width}}  {'median':>9}  {'least':>9}  {'most':>9}"]
    for title, values, digits in rows:
        cells = (statistics.median(values), min(values), max(values))
        lines.append(f"{title:{width}}  " + "  ".join(f"{cell:9.{digits}f}" for cell in cells))
    return "\n".join(lines)


Row = tuple[str, Sequence[float], int]
"""Title, a value a round, digits after the point."""


def _creation(rounds: Sequence[Round], jobs: int, pods: int) -> list[Row]:
    made = [r.creation for r in rounds]
    idle = len(made[0].idle)
    children = jobs * (pods + 2)
    creates = jobs + children
    alone = [r.bare.jobs + r.bare.children for r in rounds]
    return [
        (f"idle, {idle} jobs: apply to all pods, p50 (ms)", [percentile(c.idle, 50) * 1e3 for c in made], 1),
        (f"idle, {idle} jobs: apply to all pods, p99 (ms)", [percentile(c.idle, 99) * 1e3 for c in made], 1),
        (f"burst of {jobs} jobs x {pods} pods: all pods (s)", [c.burst_seconds for c in made], 2),
        ("burst: creates per second, jobs and children", [creates / c.burst_seconds for c in made], 0),
        ("bare client: the same creates per second", [creates / seconds for seconds in alone], 0),
        (
            "burst's rate / bare client's (%)",
            [100 * bare / c.burst_seconds for bare, c in zip(alone, made, strict=True)],
            0,
        ),
        ("bare client: children alone per second", [children / r.bare.children for r in rounds], 0),
        ("operator CPU per job (ms)", [c.cpu_per_job * 1e3 for c in made], 2),
        ("operator memory, idle (MiB)", [c.resident_before for c in made], 1),
        ("operator memory, after the burst (MiB)", [c.resident_after for c in made], 1),
        ("operator memory, peak (MiB)", [c.peak for c in made], 1),
        ("writes per job, all clients", [c.writes_per_job for c in made], 2),
    ]


def _afterwards(rounds: Sequence[Round]) -> list[Row]:
    return [
        (
            "pod deleted to all running, p50 (ms)",
            [percentile(r.losses.after_deletion, 50) * 1e3 for r in rounds],
            0,
        ),
        ("pod deleted to all running, most (ms)", [max(r.losses.after_deletion) * 1e3 for r in rounds], 0),
        (
            "pod failed to all running, p50 (ms)",
            [percentile(r.losses.after_failure, 50) * 1e3 for r in rounds],
            0,
        ),
        ("pod failed to all running, most (ms)", [max(r.losses.after_failure) * 1e3 for r in rounds], 0),
        (
            "first pod failed to a new gang running, p50 (ms)",
            [percentile(r.losses.of_gang, 50) * 1e3 for r in rounds],
            0,
        ),
        (
            "first pod failed to a new gang running, most (ms)",
            [max(r.losses.of_gang) * 1e3 for r in rounds],
            0,
        ),
        ("restart to all running jobs looked at (s)", [r.restart.seconds for r in rounds], 2),
        ("restart: the operator's writes", [r.restart.writes for r in rounds], 0),
        ("restart: the operator's memory (MiB)", [r.restart.resident for r in rounds], 1),
        ("leader told to stop to the standby's first gang (s)", [r.hand_over.after_stop for r in rounds], 2),
        ("leader killed to the standby's first gang (s)", [r.hand_over.after_kill for r in rounds], 2),
    ]
