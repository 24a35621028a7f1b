"""The chart's alerts in a real Prometheus, over real jobs: they fire, and they clear.

Their durations are a thirtieth of the chart's; all else of the rules is as helm renders it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import yaml

from tests.cluster import storage
from tests.cluster.cluster import Cluster
from tests.cluster.conftest import NAMESPACE
from tests.cluster.hurried import hurried
from tests.cluster.kubectl import Kubectl
from tests.cluster.pod_monitor import scrape_config
from tests.cluster.prometheus import Prometheus
from tests.cluster.release import Release
from tests.cluster.training_job import TrainingJob, digits
from tests.cluster.waiting import wait_until

MINUTES = 60.0
TIMES = 30
"""How much faster than the chart's the rules are."""
INTERVAL = 1.0
"""Seconds between two scrapes, and between two evaluations of the rules."""


@pytest.fixture(scope="module")
def prometheus(
    cluster: Cluster, release: Release, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """Configured by the chart's own PodMonitors and PrometheusRule."""
    directory = tmp_path_factory.mktemp("prometheus")
    rules = directory / "rules.yml"
    rules.write_text(yaml.safe_dump({"groups": hurried(release.alert_groups(), TIMES)}))
    configuration = scrape_config(release.pod_monitors(), cluster.kubeconfig, INTERVAL, rules)
    with Prometheus(directory, configuration) as prometheus:
        yield prometheus


@pytest.fixture(scope="module")
def output(cluster: Cluster, kubectl: Kubectl) -> Iterator[dict[str, str]]:
    """`spec.output` for jobs that run at the same time."""
    with storage.volume(cluster, NAMESPACE, "shared-output", "ReadWriteMany"):
        yield {"claimName": "shared-output"}


@dataclass(frozen=True)
class Alert:
    """One alert over one job."""

    prometheus: Prometheus
    name: str
    job: str

    def _series(self, state: str) -> str:
        return f'ALERTS{{alertname="{self.name}",training_job="{self.job}",alertstate="{state}"}}'

    def _firing(self) -> bool:
        now = time.time()
        return self.prometheus.shows(self._series("firing"), now, now)

    def wait_firing(self, timeout: float) -> None:
        wait_until(self._firing, timeout, f"{self.name} to fire over {self.job}", interval=0.3)

    def wait_clear(self, timeout: float) -> None:
        wait_until(lambda: not self._firing(), timeout, f"{self.name} to clear over {self.job}", interval=0.3)

    def was_pending(self) -> bool:
        """Whether it was so in the last two minutes."""
        return bool(self.prometheus.range(self._series("pending"), 120))


def signal_rank_0(kubectl: Kubectl, pod: str, number: signal.Signals) -> None:
    """Send a signal to the process of rank 0 in its pod."""
    program = (
        "import os; from pathlib import Path\n"
        "for p in Path('/proc').glob('[0-9]*'):\n"
        "    if b'\\0RANK=0\\0' in b'\\0' + (p / 'environ').read_bytes():\n"
        f"        os.kill(int(p.name), {number.value})\n"
    )
    kubectl("exec", pod, "--", "python", "-c", program)


def lose_pod(job: TrainingJob, prometheus: Prometheus, attempt: int) -> None:
    """Delete the one pod of an attempt, when it runs and Prometheus has seen its number."""
    job.wait(
        lambda status: status.get("phase") == "Running" and status["attempt"] == attempt,
        2 * MINUTES,
        f"attempt {attempt} to run",
    )
    seen = f'detectron_job_attempt{{training_job="{job.name}"}} == {attempt}'
    wait_until(lambda: prometheus.shows(seen, now := time.time(), now), MINUTES, seen, interval=0.3)
    job.kubectl("delete", "pod", f"{job.name}-{attempt}-0", "--force", "--grace-period=0", "--wait=false")


def test_stalled_restart_loop_and_failed_fire_and_clear(
    kubectl: Kubectl, prometheus: Prometheus, output: dict[str, str]
) -> None:
    """Side by side, since most of the time passes waiting."""
    failed = Alert(prometheus, "DetectronJobFailed", "refused")
    stalled = Alert(prometheus, "DetectronJobStalled", "silent")
    looping = Alert(prometheus, "DetectronJobRestartLoop", "looping")
    refused, silent, restless = (
        TrainingJob(kubectl, digits(name, numNodes=1, output=output, overrides=overrides, runPolicy=policy))
        for name, overrides, policy in (
            ("refused", ("SOLVER.BASE_LRR 0.1",), {}),
            ("silent", (), {"progressDeadlineSeconds": 0}),
            ("looping", (), {"maxBackoffSeconds": 1}),
        )
    )
    refused.apply()
    silent.apply()
    failed.wait_firing(2 * MINUTES)
    silent.wait_iteration(10, 3 * MINUTES)
    signal_rank_0(kubectl, "silent-0-0", signal.SIGSTOP)

    restless.apply()
    for attempt in range(3):
        lose_pod(restless, prometheus, attempt)
    looping.wait_firing(MINUTES)
    stalled.wait_firing(MINUTES)
    assert stalled.was_pending()

    signal_rank_0(kubectl, "silent-0-0", signal.SIGCONT)
    stalled.wait_clear(MINUTES)
    looping.wait_clear(2 * MINUTES)
    failed.wait_clear(3 * MINUTES)
    assert refused.status()["phase"] == "Failed"
    for job in (refused, silent, restless):
        job.delete()
