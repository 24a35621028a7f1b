"""How fast the operator is: `python -m bench.operator --jobs 300`.

Each round starts a real etcd, API server, scheduler and controllers with fake nodes (kwok), and the operator
as a process of its own with its default settings. A bare client makes a burst's creates first. Jobs are
applied one by one, then all at once; pods are taken from some; the operator is started anew while all run;
another one takes over from it.
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
from bench.bare import creation_seconds
from bench.load import CLAIM, PAUSE, Load
from bench.process import OperatorProcess
from bench.recorder import Recorder
from bench.recovery import Recovery
from bench.report import Bare, Creation, HandOver, Losses, Restart, Round
from tests.cluster.controlplane import ControlPlane
from tests.cluster.kwok import FakeNodes
from tests.cluster.waiting import wait_until

CRD = Path(__file__).parents[1] / "crds" / "detectrontrainingjobs.yaml"
NAMESPACE = "bench"
BARE = "bare"
WARM = 5
"""Jobs before the first that counts."""
LOSSES = 10
"""Jobs that lose their last pod by deletion, as many by failure, and as many whose first pod fails."""
NODES = 20
_WRITES = re.compile(
    r'^apiserver_request_total\{(?=.*verb="(?:POST|PUT|PATCH|DELETE|APPLY)")'
    r'(?!.*resource="(?:leases|nodes)").*\} (\S+)$',
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
        p50 = report.percentile(last.creation.idle, 50) * 1e3
        burst, bare = last.creation.burst_seconds, last.bare
        print(
            f"round {number}: idle p50 {p50:.1f} ms, burst {burst:.2f} s, "
            f"bare {bare.jobs:.2f} s for the jobs and {bare.children:.2f} s for their children",
            flush=True,
        )
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
        wait_until(lambda: plane.reads("/apis/detectron.dev/v1alpha1"), 20, "the resource to be served")
        for namespace in (NAMESPACE, BARE):
            plane.kubectl("create", "namespace", namespace)
            plane.kubectl.apply(*volume(namespace))
        recorder = Recorder(plane.kubeconfig, NAMESPACE)
        load = Load(plane.kubeconfig, NAMESPACE, pods, recorder)
        bare = bare_client(plane, Load(plane.kubeconfig, BARE, pods, recorder), jobs)
        plane.kubectl("delete", "namespace", BARE)
        settle(plane)
        with OperatorProcess(Path(folder), plane.kubeconfig) as operator:
            return Round(
                bare=bare,
                creation=create(plane, operator, load, jobs, idle),
                losses=lose_pods(plane, pods),
                restart=restart(plane, operator, WARM + idle + jobs),
                hand_over=hand_over(plane, operator, Path(folder), load),
            )


def bare_client(plane: ControlPlane, load: Load, jobs: int) -> Bare:
    """Make the creates of the burst while nothing answers to them: first the jobs', then their children's."""
    # The first jobs after their definition take seconds, of which the burst knows nothing.
    load.apply("warm", WARM)
    settle(plane)
    began = time.monotonic()
    load.apply("bare", jobs)
    applied = time.monotonic() - began
    settle(plane)
    return Bare(applied, creation_seconds(plane.kubeconfig, BARE, load.stored(), jobs))


def volume(namespace: str) -> list[dict[str, object]]:
    """A volume and the claim to it that every job names: without one no first pod would be scheduled."""
    name, size = f"{namespace}-{CLAIM}", {"storage": "1Gi"}
    common: dict[str, object] = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    claimed = {"claimRef": {"name": CLAIM, "namespace": namespace}, "hostPath": {"path": "/nonexistent"}}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": common | claimed | {"capacity": size},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": CLAIM, "namespace": namespace},
            "spec": common | {"resources": {"requests": size}, "volumeName": name},
        },
    ]


def create(plane: ControlPlane, operator: OperatorProcess, load: Load, jobs: int, idle: int) -> Creation:
    """Apply jobs one by one, then all at once."""
    load.idle("warm", WARM)
    latencies = load.idle("idle", idle)
    settle(plane)
    before, requests, writes = operator.cost(), operator.requests(), all_writes(plane)
    seconds = load.burst("burst", jobs)
    settle(plane)
    after = operator.cost()
    made = operator.requests() - requests
    return Creation(
        idle=latencies,
        burst_seconds=seconds,
        requests_per_job={name: count / jobs for name, count in made.items()},
        writes_per_job=(all_writes(plane) - writes) / jobs,
        cpu_per_job=(after.cpu - before.cpu) / jobs,
        resident_before=before.resident,
        resident_after=after.resident,
        peak=after.peak,
    )


def lose_pods(plane: ControlPlane, pods: int) -> Losses:
    """Delete a pod of one job after the other, then have some fail, then the first pods of some."""
    recovery = Recovery(plane.kubeconfig, NAMESPACE, pods)
    losses = Losses(
        after_deletion=[recovery.after_deletion(f"burst-{number}") for number in range(LOSSES)],
        after_failure=[recovery.after_failure(f"burst-{LOSSES + number}") for number in range(LOSSES)],
        of_gang=[
            recovery.after_failure_of_the_first(f"burst-{2 * LOSSES + number}") for number in range(LOSSES)
        ],
    )
    settle(plane)
    return losses


def restart(plane: ControlPlane, operator: OperatorProcess, jobs: int) -> Restart:
    """Start the operator anew while all jobs run: there is nothing to do but to look."""
    operator.stop()
    began = time.monotonic()
    operator.start()
    wait_until(lambda: operator.has_looked_at(jobs), 120, "the operator to look at every job", interval=0.1)
    seconds = time.monotonic() - began
    settle(plane)
    writes = sum(
        count for name, count in operator.requests().items() if name.split()[0] not in ("get", "list")
    )
    return Restart(seconds=seconds, writes=writes, resident=operator.cost().resident)


def hand_over(plane: ControlPlane, operator: OperatorProcess, folder: Path, load: Load) -> HandOver:
    """Tell the leader to stop while another stands by, and kill that one when it leads."""
    with OperatorProcess(folder, plane.kubeconfig) as other:
        began = time.monotonic()
        operator.stop()
        load.idle("stop", 1)
        after_stop = time.monotonic() - began - PAUSE
        operator.start()
        settle(plane)
        other.kill()
        (after_kill,) = load.idle("kill", 1)
        other.start()
    return HandOver(after_stop=after_stop, after_kill=after_kill)


def settle(plane: ControlPlane) -> None:
    """Wait until nobody has written anything for a while: all pods run and every status says so."""
    writes, quiet = -1, 0
    while quiet < 4:
        now = all_writes(plane)
        writes, quiet = now, quiet + 1 if now == writes else 0
        time.sleep(0.5)


def all_writes(plane: ControlPlane) -> int:
    """Writes that the API server has answered so far, of all its clients, but for leases and nodes."""
    text = plane.kubectl("get", "--raw", "/metrics")
    return sum(int(float(count)) for count in _WRITES.findall(text))


if __name__ == "__main__":
    main()
