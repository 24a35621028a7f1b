"""What was measured, for machines as JSON and for people as a table."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round on an API server of its own. Times in seconds, memory in MiB.

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
    idle = len(rounds[0].idle)
    rows: list[tuple[str, Sequence[float], int]] = [
        (
            f"idle, {idle} jobs: apply to all pods, p50 (ms)",
            [percentile(r.idle, 50) * 1e3 for r in rounds],
            1,
        ),
        (
            f"idle, {idle} jobs: apply to all pods, p99 (ms)",
            [percentile(r.idle, 99) * 1e3 for r in rounds],
            1,
        ),
        (f"burst of {jobs} jobs x {pods} pods: all pods (s)", [r.burst_seconds for r in rounds], 2),
        ("burst: jobs per second", [jobs / r.burst_seconds for r in rounds], 1),
        ("operator CPU per job (ms)", [r.cpu_per_job * 1e3 for r in rounds], 2),
        ("operator memory, idle (MiB)", [r.resident_before for r in rounds], 1),
        ("operator memory, after the burst (MiB)", [r.resident_after for r in rounds], 1),
        ("operator memory, peak (MiB)", [r.peak for r in rounds], 1),
        ("writes per job, all clients", [r.writes_per_job for r in rounds], 2),
    ]
    rows += [
        (f"operator: {request} per job", [r.requests_per_job.get(request, 0.0) for r in rounds], 2)
        for request in sorted({name for r in rounds for name in r.requests_per_job})
    ]
    width = max(len(title) for title, _, _ in rows)
    lines = [f"{'':{width}}  {'median':>9}  {'least':>9}  {'most':>9}"]
    for title, values, digits in rows:
        cells = (statistics.median(values), min(values), max(values))
        lines.append(f"{title:{width}}  " + "  ".join(f"{cell:9.{digits}f}" for cell in cells))
    return "\n".join(lines)
