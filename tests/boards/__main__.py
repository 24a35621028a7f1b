"""`python -m tests.boards`: fill the boards with jobs on a real cluster, and draw them into docs/boards."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from dashboards.pictures import __main__ as pictures
from tests.cluster.console import say
from tests.cluster.kubectl import Kubectl
from tests.cluster.pod_monitor import scrape_config
from tests.cluster.prometheus import Prometheus
from tests.cluster.release import installed
from tests.cluster.training_job import TrainingJob, digits
from tests.cluster.workspace import workspace

NAMESPACE = "vision"
SCRAPE_INTERVAL, RATE_WINDOW = 1.0, 20
"""Seconds."""
MINUTES = 60.0


def main() -> None:
    """Record what a Prometheus says of jobs that succeed, restart, fail, wait and run, and draw it."""
    with (
        installed() as release,
        workspace(release.cluster, NAMESPACE) as kubectl,
        tempfile.TemporaryDirectory(prefix="prometheus-") as folder,
    ):
        configuration = scrape_config(release.pod_monitors(), release.cluster.kubeconfig, SCRAPE_INTERVAL)
        with Prometheus(Path(folder), configuration) as prometheus:
            began = time.time()
            fill(kubectl)
            pictures.record(prometheus.url, began, time.time(), "digits", RATE_WINDOW)
    pictures.draw()


def fill(kubectl: Kubectl) -> None:
    """One job of each sort; the last still runs when this returns."""
    mistaken = TrainingJob(kubectl, digits("mistaken", overrides=("SOLVER.BASE_LRR 0.1",)))
    waiting = TrainingJob(kubectl, digits("waiting", resourcesPerNode={"requests": {"cpu": "64"}}))
    restarted, slower = (
        TrainingJob(kubectl, digits(name, overrides=(f"SOLVER.BASE_LR {rate}",)))
        for name, rate in (("digits", 0.05), ("digits-slower", 0.01))
    )
    for job in (mistaken, waiting, restarted):
        job.apply()
    restarted.wait_iteration(200, 5 * MINUTES)
    kubectl("delete", "pod", "digits-0-0", "--wait=false")
    restarted.wait_phase("Succeeded", 10 * MINUTES)
    say("digits has succeeded")
    slower.apply()
    slower.wait_iteration(320, 5 * MINUTES)
    say("digits-slower is on its way")


if __name__ == "__main__":
    main()
