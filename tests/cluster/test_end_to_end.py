"""From `helm install` and `kubectl apply` to a trained model and its metrics in Prometheus, all real."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import boards, packages, storage, workspace
from tests.cluster.cluster import Cluster
from tests.cluster.conftest import NAMESPACE
from tests.cluster.kubectl import Kubectl
from tests.cluster.pod_monitor import scrape_config
from tests.cluster.prometheus import Prometheus
from tests.cluster.release import Release
from tests.cluster.series import ITERATION, by_iteration, rows
from tests.cluster.training_job import TERMINAL, TrainingJob, digits
from tests.cluster.waiting import wait_until

MINUTES = 60.0
SCRAPE_INTERVAL = 1.0
"""Seconds; short, so that most writes of a fast little job are seen."""
SHORT = ("SOLVER.MAX_ITER 160", "SOLVER.STEPS (120,)", "SOLVER.CHECKPOINT_PERIOD 40", "TEST.EVAL_PERIOD 0")


@pytest.fixture(scope="module")
def prometheus(
    cluster: Cluster, release: Release, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """Configured by the chart's own PodMonitors."""
    configuration = scrape_config(release.pod_monitors(), cluster.kubeconfig, SCRAPE_INTERVAL)
    with Prometheus(tmp_path_factory.mktemp("prometheus"), configuration) as prometheus:
        yield prometheus


def metrics_json(cluster: Cluster, kubectl: Kubectl, job: str) -> str:
    """What the job's rank 0 wrote, read through a pod of ours."""
    with storage.shell(cluster, NAMESPACE, "reader", workspace.OUTPUT, "/output"):
        return kubectl("exec", "reader", "--", "cat", f"/output/{job}/metrics.json")


def check_metrics(text: str) -> None:
    """`promtool check metrics`, which must have nothing to say."""
    done = subprocess.run(
        [str(packages.promtool()), "check", "metrics"],
        input=text,
        text=True,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def check_nobody_else_may_mount_the_output(cluster: Cluster, kubectl: Kubectl) -> None:
    """The scheduler keeps a second pod from it, as it would have kept a second pod of the gang."""
    kubectl.apply(storage.shell_pod(cluster, "second", workspace.OUTPUT, "/output"))

    def refusal() -> str:
        conditions = kubectl.get("pod", "second")["status"].get("conditions", ())
        return "".join(c["message"] for c in conditions if c.get("reason") == "Unschedulable")

    assert "ReadWriteOncePod" in wait_until(refusal, MINUTES, "the scheduler's refusal", interval=0.3)
    kubectl("delete", "pod", "second")


def starts(prometheus: Prometheus, pod: str) -> set[int]:
    """The iterations that this pod's processes, one after the other, went on from."""
    (series,) = prometheus.range(f'detectron_training_start_iteration{{pod="{pod}"}}', 1200)
    return {int(value) for _, value in series.samples}


def follow(job: TrainingJob, timeout: float) -> list[dict[str, Any]]:
    """Every different status until the job ends."""
    seen: list[dict[str, Any]] = []

    def ended() -> bool:
        status = job.status()
        if not seen or status != seen[-1]:
            seen.append(status)
        return status.get("phase") in TERMINAL

    wait_until(ended, timeout, f"{job.name} to end", interval=0.3)
    return seen


def test_the_installation_proves_itself(release: Release) -> None:
    release.test()


def test_two_nodes_train_one_model(
    cluster: Cluster, release: Release, kubectl: Kubectl, prometheus: Prometheus
) -> None:
    job = TrainingJob(kubectl, digits("digits"))
    job.apply()
    job.wait_iteration(20, 3 * MINUTES)

    pods = job.pods()
    assert sorted(pod["metadata"]["name"] for pod in pods) == ["digits-0-0", "digits-0-1"]
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 2
    check_nobody_else_may_mount_the_output(cluster, kubectl)
    header, line = kubectl("get", "dtj", "digits").splitlines()
    assert header.split() == ["NAME", "PHASE", "PROGRESS", "ITER", "LOSS", "AP", "ETA", "RESTARTS", "AGE"]
    assert "Running" in line
    check_metrics(
        kubectl("get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/digits-0-0:9464/proxy/metrics")
    )
    operator = release.pod()["metadata"]["name"]
    check_metrics(
        kubectl("get", "--raw", f"/api/v1/namespaces/detectron-system/pods/{operator}:8081/proxy/metrics")
    )

    seen = follow(job, 10 * MINUTES)
    final = seen[-1]
    assert final["phase"] == "Succeeded", final
    running = [status for status in seen if status["phase"] == "Running" and "iteration" in status]
    for moving in ("iteration", "progress", "eta"):
        assert len({status.get(moving) for status in running}) >= 3, f"{moving} did not move"
    losses = [
        {m["name"]: m["value"] for m in status.get("metrics", ())}.get("total_loss") for status in running
    ]
    assert len(set(losses)) >= 3
    iterations = [status["iteration"] for status in running]
    assert iterations == sorted(iterations)

    precision = {m["name"]: float(m["value"]) for m in final["evaluation"]["metrics"]}
    assert precision["digits_validation/bbox/AP50"] >= 0.60
    assert precision["digits_validation/segm/AP50"] >= 0.55
    assert final["iteration"] == final["maxIterations"] == final["lastCheckpoint"]["iteration"] == 600
    assert {"total_loss", "loss_mask", "lr"} <= {m["name"] for m in final["metrics"]}
    assert final["observedGeneration"] == job.read()["metadata"]["generation"]
    assert final["startTime"] < final["completionTime"]
    assert {c["type"]: c["status"] for c in final["conditions"]}["Complete"] == "True"

    written = rows(metrics_json(cluster, kubectl, "digits"))
    of_job = '{training_job="digits"}'
    scraped = prometheus.range(ITERATION + of_job, 1200)
    for series, name in (
        ("detectron_training_total_loss", "total_loss"),
        ("detectron_training_learning_rate", "lr"),
    ):
        samples = by_iteration(prometheus.range(series + of_job, 1200), scraped)
        assert len(samples) >= 5, f"Prometheus holds {series} at {sorted(samples)} only"
        assert samples == {
            iteration: pytest.approx(written[iteration][name], rel=1e-9) for iteration in samples
        }
    masks = by_iteration(
        prometheus.range('detectron_training_loss{training_job="digits",loss="loss_mask"}', 1200), scraped
    )
    assert masks == {
        iteration: pytest.approx(written[iteration]["loss_mask"], rel=1e-9) for iteration in masks
    }

    version = job.read()["metadata"]["resourceVersion"]
    job.apply()
    assert job.read()["metadata"]["resourceVersion"] == version
    job.delete()
    wait_until(lambda: not job.children(), MINUTES, "the job's children to be gone", interval=0.3)


def test_suspend_and_resume(
    cluster: Cluster, release: Release, kubectl: Kubectl, prometheus: Prometheus
) -> None:
    """Twice, and the operator is killed while the job starts, while it resumes and while it is suspended."""
    job = TrainingJob(kubectl, digits("paused", overrides=SHORT, metrics={"period": 1}))
    job.apply()
    killed = release.kill()
    job.wait_iteration(10, 3 * MINUTES)
    release.wait_replaced(killed)
    job.suspend(True)
    stopped = job.wait_phase("Suspended", 2 * MINUTES)
    assert [pod for pod in job.pods() if pod["status"]["phase"] in ("Pending", "Running")] == []
    saved = stopped["lastCheckpoint"]["iteration"]
    assert saved == stopped["iteration"] >= 10

    job.suspend(False)
    killed = release.kill()
    resumed = job.wait_iteration(saved + 10, 3 * MINUTES)
    assert resumed["attempt"] == 1
    assert starts(prometheus, "paused-1-0") == {saved}
    release.wait_replaced(killed)
    job.suspend(True)
    release.kill()
    job.wait_phase("Suspended", 2 * MINUTES)

    job.suspend(False)
    final = job.wait_phase("Succeeded", 5 * MINUTES)
    assert final["iteration"] == 160
    assert (final["attempt"], final["restarts"]) == (2, 0)
    assert min(starts(prometheus, "paused-2-0")) >= resumed["iteration"]
    assert list(rows(metrics_json(cluster, kubectl, "paused"))) == list(range(160))
    job.delete()


def test_a_killed_rank_0_resumes_from_its_checkpoint_in_its_pod(
    cluster: Cluster, kubectl: Kubectl, prometheus: Prometheus
) -> None:
    job = TrainingJob(kubectl, digits("survivor", overrides=SHORT, metrics={"period": 1}))
    job.apply()
    job.wait_iteration(45, 3 * MINUTES)
    kill = (
        "import os, signal; from pathlib import Path\n"
        "for p in Path('/proc').glob('[0-9]*'):\n"
        "    if b'\\0RANK=0\\0' in b'\\0' + (p / 'environ').read_bytes():\n"
        "        os.kill(int(p.name), signal.SIGKILL)\n"
    )
    kubectl("exec", "survivor-0-0", "--", "python", "-c", kill)
    final = job.wait_phase("Succeeded", 6 * MINUTES)
    assert (final["attempt"], final["restarts"], final["goodput"]["workerRestarts"]) == (0, 0, 1)
    assert final["iteration"] == 160
    assert list(rows(metrics_json(cluster, kubectl, "survivor"))) == list(range(160))
    assert starts(prometheus, "survivor-0-0") - {0} <= {40, 80, 120}
    job.delete()


def test_what_only_detectron2_can_judge_ends_in_a_verdict(kubectl: Kubectl, prometheus: Prometheus) -> None:
    wrong = (
        "SOLVER.BASE_LRR 0.1",
        "SOLVER.MAX_ITER many",
        "MODEL.ROI_HEADS.NUM_CLASSES 3",
        "SOLVER.IMS_PER_BATCH 7",
    )
    job = TrainingJob(kubectl, digits("mistaken", overrides=wrong, plugins=["no_such_module"]))
    job.apply()
    status = job.wait_phase("Failed", 2 * MINUTES)
    failure = status["failure"]
    assert failure["reason"] == "InvalidConfig"
    for words in ("SOLVER.BASE_LR?", "SOLVER.MAX_ITER", "NUM_CLASSES", "no_such_module"):
        assert words in failure["message"], failure["message"]
    assert (status["attempt"], status["restarts"]) == (0, 0)
    events = kubectl.get("events", "--field-selector", "involvedObject.name=mistaken,type=Warning")["items"]
    assert [event["reason"] for event in events] == ["InvalidConfig"]
    failed = 'detectron_job_failure_info{training_job="mistaken",reason="InvalidConfig"}'
    prometheus.wait_samples(failed, 1, MINUTES)
    job.delete()


NEEDS_A_GPU = {"GPU memory"}
"""Panels that nothing here can fill."""


def test_every_panel_of_every_board_shows_what_happened_above(
    kubectl: Kubectl, prometheus: Prometheus
) -> None:
    """With the series that the jobs of this module left behind, and a gang that restarts."""
    job = TrainingJob(kubectl, digits("restarted", overrides=SHORT))
    job.apply()
    job.wait_iteration(1, 3 * MINUTES)
    kubectl("delete", "pod", "restarted-0-0", "--wait=false")
    # Two at least, for a rate of increase.
    prometheus.wait_samples('detectron_job_restarts_total{training_job="restarted"}', 3, MINUTES)
    # What it cost is known when the next gang runs.
    prometheus.wait_samples('detectron_job_lost_seconds{training_job="restarted"}', 1, 2 * MINUTES)
    job.delete()

    spans = {"__rate_interval": "20s", "__range": "20m", "__interval": "5s"}
    everything = {"namespace": NAMESPACE, "loss": "loss_mask"} | spans
    found = {
        query: prometheus.shows(query.expr, time.time() - 20 * MINUTES, time.time())
        for name in ("digits", "restarted")
        for query in boards.queries(everything | {"training_job": name})
    }
    filled = {(query.board, query.panel) for query, shown in found.items() if shown}
    empty = {(query.board, query.panel) for query in found} - filled
    assert {panel for _, panel in empty} == NEEDS_A_GPU
