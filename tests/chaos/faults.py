"""What can be done to a running job; each function returns when the fault has struck."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from detectron_operator.manifests.torchrun import METRICS_PORT
from tests.chaos.trial import Trial
from tests.cluster import cgroups, network
from tests.cluster.command import run
from tests.cluster.daemon import Process
from tests.cluster.kubectl import KubectlError
from tests.cluster.waiting import wait_until


def signal_worker(trial: Trial, rank: int, number: signal.Signals) -> None:
    """Send a signal to the training process of a rank, from outside of its container."""
    process = _worker(trial, rank)
    trial.strike()
    process.send(number)


def signal_pod(name: str, number: signal.Signals) -> None:
    """Send a signal to every process of a pod whose containers run one program."""
    for process in cgroups.processes():
        if f"HOSTNAME={name}" in _environment(process):
            process.send(number)


def delete_pod(trial: Trial, index: int, *options: str) -> None:
    """kubectl delete pod."""
    pod = trial.pod(index)["metadata"]["name"]
    trial.strike()
    trial.kubectl("delete", "pod", pod, "--wait=false", *options)


def evict_pod(trial: Trial, index: int) -> None:
    """What `kubectl drain` and the autoscaler do to a pod."""
    meta = trial.pod(index)["metadata"]
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
    }
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/eviction"
    trial.strike()
    trial.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def drain_node(trial: Trial, index: int) -> None:
    """Drain the node of a pod; it takes pods again when the trial is over."""
    node = trial.node(index).name
    trial.undo.callback(trial.kubectl, "uncordon", node)
    trial.strike()
    trial.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", timeout=300)


def lose_node(trial: Trial, index: int) -> Callable[[], None]:
    """Kill the kubelet, containerd and every container of a pod's node.

    It stays away until the end, or until what this returns is called, which waits until the node is back.
    """
    node = trial.node(index)

    def back() -> None:
        node.start()
        trial.kubectl("wait", "--for=condition=Ready", f"node/{node.name}", "--timeout=120s", timeout=130)

    trial.undo.callback(back)
    trial.strike()
    node.kill()
    return back


def cut_network(trial: Trial) -> None:
    """Let no packet pass between pods of different nodes; the API server stays in reach of all."""
    trial.undo.callback(network.heal)
    trial.strike()
    network.cut(len(trial.cluster.nodes))


def gather_operators(trial: Trial, index: int) -> None:
    """Have all operators on the node of this pod; they spread again in the end."""
    elsewhere = [node for node in trial.cluster.nodes if node.name != trial.node(index).name]
    trial.undo.callback(trial.release.restart)
    for node in elsewhere:
        trial.kubectl("cordon", node.name)
    try:
        trial.release.restart()
    finally:
        for node in elsewhere:
            trial.kubectl("uncordon", node.name)


def fill_output(trial: Trial) -> Path:
    """Leave no room on the volume of the output; returns the file that takes it.

    Raises:
        CommandError: the output has no volume of its own; the machine's is not to be filled.
    """
    run("mountpoint", str(trial.output))
    filler = trial.output / "filler"
    trial.strike()
    free = shutil.disk_usage(trial.output).free
    run("fallocate", "--length", str(free), str(filler))
    return filler


def tag_image(trial: Trial, image: str, name: str) -> None:
    """Give an image another name on every node, as a push to the registry would."""
    for node in trial.cluster.nodes:
        trial.undo.callback(node.untag, name)
        node.tag(image, name)


def wait_phase(trial: Trial, phase: str, timeout: float) -> None:
    """Wait for a phase, also one that ends the job."""
    wait_until(lambda: trial.job.status().get("phase") == phase, timeout, f"phase {phase}", interval=0.2)


def wait_restart(trial: Trial, timeout: float) -> None:
    """Wait until the operator has decided on another attempt."""
    trial.job.wait(lambda status: status.get("attempt", 0) > 0, timeout, "another attempt")


def wait_world(trial: Trial, size: int, timeout: float) -> None:
    """Wait until so many processes train together, as rank 0 itself tells."""

    def together(_: object) -> bool:
        meta = trial.pod(0)["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}:{METRICS_PORT}/proxy/progress"
        try:
            told = json.loads(trial.kubectl("get", "--raw", path))
        except KubectlError:
            return False  # the processes are being started anew
        return bool(told["worldSize"] == size and told["phase"] == "Training")

    trial.job.wait(together, timeout, f"{size} processes to train")


def _worker(trial: Trial, rank: int) -> Process:
    job = f"{trial.kubectl.namespace}/{trial.job.name}"
    wanted = {f"RANK={rank}", f"DETECTRON_JOB={job}"}
    found = [process for process in cgroups.processes() if wanted <= set(_environment(process))]
    # Data loaders and other children have the same environment, and are younger.
    return min(found, key=lambda process: process.started)


def _environment(process: Process) -> Iterator[str]:
    try:
        yield from Path(f"/proc/{process.pid}/environ").read_text(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return  # it has just ended
