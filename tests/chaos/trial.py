"""One job under one fault, on this machine's cluster."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from tests.apiserver.api import Api
from tests.chaos.iterations import IterationWatch
from tests.chaos.statuses import StatusWatch
from tests.cluster import storage
from tests.cluster.cluster import Cluster
from tests.cluster.command import run
from tests.cluster.kubectl import Kubectl
from tests.cluster.node import Node
from tests.cluster.release import Release
from tests.cluster.training_job import TrainingJob, digits
from tests.cluster.workspace import DATA, OUTPUT

MAX_ITER, CHECKPOINT_PERIOD = 90, 20
STRIKE_AT = 35
"""Completed iterations at which faults strike, between two checkpoints."""
MINUTES = 60.0
PLUGINS = "plugins"
_SHORT = (
    "SOLVER.STEPS (80,)",
    f"SOLVER.CHECKPOINT_PERIOD {CHECKPOINT_PERIOD}",
    "TEST.EVAL_PERIOD 0",
    "DATASETS.TEST ()",
)


@dataclass
class Trial:
    """A job of two pods, what is seen of it, and the marks from which times count.

    What a fault leaves on the machine is repaired by `undo`, whatever happens.
    """

    cluster: Cluster
    release: Release
    job: TrainingJob
    trained: IterationWatch
    told: StatusWatch
    undo: ExitStack = field(default_factory=ExitStack)
    struck_at: float | None = None
    repaired_at: float | None = None

    @property
    def kubectl(self) -> Kubectl:
        return self.job.kubectl

    @property
    def output(self) -> Path:
        """The job's output folder, on this machine."""
        return output_folder(self.kubectl, self.job.name)

    def train(self, completed: int = STRIKE_AT) -> None:
        """Wait until so many iterations are complete."""
        self.trained.wait(completed, 4 * MINUTES)

    def strike(self) -> None:
        """The fault happens now: detection counts from here, and recovery unless a repair comes first."""
        self.struck_at = time.monotonic()

    def repaired(self) -> None:
        """What the fault took away is back: recovery counts from here."""
        self.repaired_at = time.monotonic()

    def pod(self, index: int) -> dict[str, Any]:
        """The newest pod of this node index."""
        own = [
            p for p in self.job.pods() if p["metadata"]["labels"]["detectron.dev/node-index"] == str(index)
        ]
        return max(own, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def node(self, index: int) -> Node:
        """The node on which that pod is."""
        name = self.pod(index)["spec"]["nodeName"]
        return next(node for node in self.cluster.nodes if node.name == name)


def output_folder(kubectl: Kubectl, job: str) -> Path:
    """Where the output claim of a namespace lies on this machine."""
    assert kubectl.namespace is not None
    return storage.ROOT / kubectl.namespace / OUTPUT / job


@contextmanager
def trial(
    release: Release, kubectl: Kubectl, manifest: dict[str, Any], volume: str | None = None
) -> Iterator[Trial]:
    """Apply a job and watch it; afterwards it is gone, with its output, and the cluster is as it was.

    `volume` is the size, as mount takes it, of a volume of its own for the output.
    """
    cluster, name = release.cluster, str(manifest["metadata"]["name"])
    folder = output_folder(kubectl, name)
    job = TrainingJob(kubectl, manifest)
    # What is said right after an API server is back is not to be slept through.
    impatient = urllib3.Retry(0, respect_retry_after_header=False)
    api = Api(cluster.kubeconfig, kubectl.namespace or "default", impatient)
    with (
        contextlib.ExitStack() as undo,
        IterationWatch(folder / "metrics.json") as trained,
        StatusWatch(api, name) as told,
    ):
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        if volume is not None:
            folder.mkdir(exist_ok=True)
            run("mount", "-t", "tmpfs", "-o", f"size={volume},mode=0777", "output", str(folder))
            undo.callback(run, "umount", "--lazy", str(folder))
        undo.callback(job.delete)
        job.apply()
        yield Trial(cluster, release, job, trained, told, undo)


def small(name: str, *overrides: str, env: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """Digits on two pods, short, saying each iteration; both pods fit on one node, as after a drain."""
    variables = {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"/data/{PLUGINS}"} | (env or {})
    fields: dict[str, Any] = {
        "metrics": {"period": 1},
        "resourcesPerNode": {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "3Gi"}},
        "env": [{"name": key, "value": value} for key, value in variables.items()],
    }
    return digits(name, overrides=(*_SHORT, *overrides), **(fields | spec))


def with_plugins(kubectl: Kubectl) -> None:
    """Put the model that fails on demand into the data claim."""
    assert kubectl.namespace is not None
    folder = storage.ROOT / kubectl.namespace / DATA / PLUGINS
    folder.mkdir()
    shutil.copy(Path(__file__).with_name("faulty_model.py"), folder)
