"""How fast the operator is: `python -m bench.operator --jobs 300`.

Each round starts a real etcd, API server, scheduler and controllers with fake nodes (kwok), and the operator
as a process of its own with its default settings. Jobs are applied one by one, then all at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import report
from bench.load import Load
from bench.process import OperatorProcess
from bench.recorder import Recorder
from bench.report import Round
from tests.cluster.controlplane import ControlPlane
from tests.cluster.kwok import FakeNodes
from tests.cluster.waiting import wait_until

CRD = Path(__file__).parents[1] / "crds" / "detectrontrainingjobs.yaml"
NAMESPACE = "bench"
NODES = 20
_WRITES = re.compile(
    r'^apiserver_request_total\{(?=.*verb="(?:POST|PUT|PATCH|DELETE|APPLY)")'
    r'(?!.*resource="leases").*\} (\S+)$',
    re.MULTILINE,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write the numbers."""
    parser = argparse.ArgumentParser(prog="python -m bench.operator", description=__doc__)
    parser.add_argument("--jobs", type=int, default=300, help="jobs of the burst (default: %(default)s)")
    parser.add_argument("--pods", type=int, default=2, help="pods of each job (default: %(default)s)")
    parser.add_argument(
        "--idle", type=int, default=100, help="jobs applied one by one (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    chosen = parser.parse_args(arguments)
    facts = report.machine()
    print("  ".join(f"{name}: {value}" for name, value in facts.items()), flush=True)
    rounds = []
    for number in range(1, chosen.rounds + 1):
        rounds.append(measure(chosen.jobs, chosen.pods, chosen.idle))
        last = rounds[-1]
        p50 = report.percentile(last.idle, 50) * 1e3
        print(f"round {number}: idle p50 {p50:.1f} ms, burst {last.burst_seconds:.2f} s", flush=True)
    print(report.table(rounds, chosen.jobs, chosen.pods))
    if chosen.json:
        numbers = {
            "machine": facts,
            "jobs": chosen.jobs,
            "pods": chosen.pods,
            "rounds": [dataclasses.asdict(found) for found in rounds],
        }
        chosen.json.write_text(json.dumps(numbers, indent=1) + "\n")


def measure(jobs: int, pods: int, idle: int) -> Round:
    """One round."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        ControlPlane(Path(folder)) as plane,
        FakeNodes(plane, NODES),
    ):
        plane.kubectl("apply", "-f", str(CRD))
        plane.kubectl("create", "namespace", NAMESPACE)
        wait_until(lambda: plane.reads("/apis/detectron.dev/v1alpha1"), 20, "the resource to be served")
        with OperatorProcess(Path(folder), plane.kubeconfig) as operator:
            load = Load(plane.kubeconfig, NAMESPACE, pods, Recorder(plane.kubeconfig, NAMESPACE))
            load.idle("warm", 5)
            latencies = load.idle("idle", idle)
            settle(plane)
            before, requests, writes = operator.cost(), operator.requests(), all_writes(plane)
            seconds = load.burst("burst", jobs)
            settle(plane)
            after = operator.cost()
            made = operator.requests() - requests
            return Round(
                idle=latencies,
                burst_seconds=seconds,
                requests_per_job={name: count / jobs for name, count in made.items()},
                writes_per_job=(all_writes(plane) - writes) / jobs,
                cpu_per_job=(after.cpu - before.cpu) / jobs,
                resident_before=before.resident,
                resident_after=after.resident,
                peak=after.peak,
            )


def settle(plane: ControlPlane) -> None:
    """Wait until nobody has written anything for a while: all pods run and every status says so."""
    writes, quiet = -1, 0
    while quiet < 4:
        now = all_writes(plane)
        writes, quiet = now, quiet + 1 if now == writes else 0
        time.sleep(0.5)


def all_writes(plane: ControlPlane) -> int:
    """Writes that the API server has answered so far, of all its clients, without leases."""
    text = plane.kubectl("get", "--raw", "/metrics")
    return sum(int(float(count)) for count in _WRITES.findall(text))


if __name__ == "__main__":
    main()
