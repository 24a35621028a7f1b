"""From nothing to live losses on a board, by the README's own commands.

Not run as they stand there:
- `stack`: the cluster takes its resources, and a Prometheus of the tests does as the chart's PodMonitors say;
- `images`: buildah builds from the same Dockerfiles, and the nodes are handed the images without a registry;
- `packages`: the tests have them;
- `board`: there is no Grafana; the chart's ConfigMap is read instead, and the query of its board asked.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from dashboards.pictures import model
from dashboards.pictures.answers import fill
from tests.apiserver import definitions
from tests.cluster import images, storage
from tests.cluster.cluster import Cluster
from tests.cluster.kubectl import Kubectl
from tests.cluster.local import LocalCluster
from tests.cluster.pod_monitor import scrape_config
from tests.cluster.prometheus import Prometheus
from tests.cluster.quickstart import ROOT, Shell, built, steps
from tests.cluster.release import Release
from tests.cluster.waiting import wait_until

NAMESPACE = "quickstart"
MONITORING = ("PodMonitor", "PrometheusRule")
IMAGES = {
    "operator/Dockerfile": (images.operator, images.OPERATOR_IMAGE),
    "trainer-image/Dockerfile": (images.trainer, images.TRAINER_IMAGE),
}
STEPS = steps((ROOT / "README.md").read_text())


def stack(cluster: Cluster, undo: ExitStack) -> None:
    """What the Prometheus operator defines, as far as the chart uses it."""
    kinds = [("monitoring.coreos.com/v1", kind) for kind in MONITORING]
    definitions.install(LocalCluster().plane, *kinds)
    names = [f"{kind.lower()}s.monitoring.coreos.com" for kind in MONITORING]
    undo.callback(cluster.kubectl, "delete", "crd", *names)


def hand_out(cluster: Cluster, commands: str, undo: ExitStack) -> None:
    """Build the images and give them to the nodes, under the names that they are pushed by."""
    names = {name: IMAGES[dockerfile] for name, dockerfile in built(commands).items()}
    cluster.load_image(*(archive() for archive, _ in names.values()))
    tags = {name: image for name, (_, image) in names.items()}
    tags["docker.io/library/busybox:1.37"] = images.BUSYBOX_IMAGE
    for node in cluster.nodes:
        for name, image in tags.items():
            node.untag(name)  # what a killed run left
            node.tag(image, name)
            undo.callback(node.untag, name)


def monitoring(cluster: Cluster, directory: Path) -> Prometheus:
    """A Prometheus that does as the resources say that the stack's selects by their label."""
    found = {
        kind: cluster.kubectl.get(kind, "--all-namespaces", "--selector", "release=prometheus")["items"]
        for kind in MONITORING
    }
    directory.mkdir()
    groups = [group for rule in found["PrometheusRule"] for group in rule["spec"]["groups"]]
    rules = directory / "rules.yml"
    rules.write_text(yaml.safe_dump({"groups": groups}))
    assert len(found["PodMonitor"]) == 2
    return Prometheus(directory, scrape_config(found["PodMonitor"], cluster.kubeconfig, 1.0, rules))


def total_loss(cluster: Cluster) -> str:
    """The query of a panel, from the ConfigMaps that Grafana's sidecar would take up."""
    found = cluster.kubectl.get("configmaps", "--all-namespaces", "--selector", "grafana_dashboard=1")
    boards = [model.parse(text) for item in found["items"] for text in item["data"].values()]
    (panel,) = (
        panel
        for board in boards
        for panel in board.panels
        if (board.title, panel.title) == ("Detectron / Job", "Total loss")
    )
    (target,) = panel.targets
    return fill(target.expr, {"namespace": ".*", "training_job": "digits"})


@pytest.fixture
def shell(cluster: Cluster, tmp_path: Path) -> Iterator[Shell]:
    """In a fresh namespace with storage, on a cluster without the chart; all is gone afterwards."""
    admin, kubeconfig = cluster.kubectl, tmp_path / "kubeconfig"
    admin("create", "namespace", NAMESPACE)
    admin("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    kubeconfig.write_bytes(cluster.kubeconfig.read_bytes())
    Kubectl(kubeconfig)("config", "set-context", "--current", f"--namespace={NAMESPACE}")
    with ExitStack() as undo:
        undo.callback(admin, "delete", "namespace", NAMESPACE, timeout=180)
        for claim in ("digits-data", "digits-output"):
            undo.enter_context(storage.provisioned(cluster, NAMESPACE, claim, "ReadWriteOnce"))
        # Those of a deleted job write a last checkpoint.
        undo.callback(admin, "delete", "pod", "--all", f"--namespace={NAMESPACE}", timeout=180)
        (tmp_path / "home").mkdir()
        yield Shell(tmp_path / "home", kubeconfig)


def test_the_readme_leads_to_live_losses(
    cluster: Cluster, shell: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user = Kubectl(shell.kubeconfig)
    with ExitStack() as undo:
        stack(cluster, undo)
        hand_out(cluster, STEPS["images"], undo)
        undo.callback(Release(cluster).uninstall)
        began = time.monotonic()
        shell.run("operator", STEPS["operator"])
        prometheus = undo.enter_context(monitoring(cluster, tmp_path / "prometheus"))
        shell.run("data", STEPS["data"])
        undo.callback(user, "delete", "dtj", "--all", timeout=180)
        shell.run("job", STEPS["job"])
        seen = watch(shell, tmp_path / "watch", undo)
        shell.seconds["first loss in kubectl"] = time.monotonic() - began
        query = total_loss(cluster)
        wait_until(lambda: prometheus.shows(query, now := time.time(), now), 60, "a loss on the board")
        shell.seconds["first loss on the board"] = time.monotonic() - began
        assert user.get("dtj", "digits")["status"]["phase"] == "Running", seen
    with capsys.disabled():
        print("", *(f"{name}: {seconds:.0f} s" for name, seconds in shell.seconds.items()), sep="\n  ")


def watch(shell: Shell, output: Path, undo: ExitStack) -> str:
    """Watch the job until it runs and has a loss; what was seen by then."""
    process = shell.start(STEPS["watch"], output)
    undo.callback(process.wait)
    undo.callback(os.killpg, process.pid, signal.SIGTERM)

    def loss() -> str:
        """The first line that tells of it: NAME PHASE PROGRESS ITER LOSS and more."""
        lines = output.read_text().splitlines()
        told = (line for line in lines if re.match(r"digits +Running +\d+% +\d+ +\d+\.\d+ ", line))
        return next(told, "")

    return wait_until(loss, 180, "a loss in `kubectl get`", interval=0.3)
