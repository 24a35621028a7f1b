"""The operator as a user installs it: its image, the chart, helm."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import binaries, cluster, images
from tests.cluster.cluster import Cluster, ClusterError
from tests.cluster.command import run
from tests.cluster.kubectl import Kubectl
from tests.cluster.waiting import wait_until

CHART = Path(__file__).parents[2] / "charts" / "detectron-operator"
NAMESPACE = "detectron-system"
NAME = "detectron-operator"
SELECTOR = f"app.kubernetes.io/name={NAME}"


@dataclass(frozen=True)
class Release:
    """The chart, installed in a namespace under the name `NAME`."""

    cluster: Cluster
    namespace: str = NAMESPACE

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(self.cluster.kubeconfig, self.namespace)

    def install(self, chart: Path = CHART, values: Mapping[str, Any] | None = None) -> None:
        """`helm upgrade --install` until the operator is ready, with images built from this checkout.

        Another's cluster pulls those that DETECTRON_OPERATOR_IMAGE and DETECTRON_TRAINER_IMAGE name.

        Args:
            chart: a chart's folder.
            values: beside those of the images.

        Raises:
            ClusterError: the nodes are not ours and the environment names no images.
            CommandError: helm failed, or the operator was not ready in time.
        """
        sets = []
        for value, image in zip(("image", "trainer.image"), self._images(), strict=True):
            repository, _, tag = image.rpartition(":")
            sets += [f"--set={value}.repository={repository}", f"--set={value}.tag={tag}"]
        flags = ("--create-namespace", "--wait", "--timeout=3m", "--values=-", *sets)
        self._helm("upgrade", "--install", NAME, str(chart), *flags, stdin=json.dumps(values or {}))

    def test(self) -> None:
        """`helm test`.

        Raises:
            CommandError: the installation does not work.
        """
        self._helm("test", NAME, "--timeout=2m")

    def pod_monitors(self) -> list[dict[str, Any]]:
        """The PodMonitors that the chart would install where the Prometheus operator runs."""
        return self._rendered("PodMonitor", "monitoring.podMonitors.enabled=true")

    def alert_groups(self) -> list[dict[str, Any]]:
        """The groups of its PrometheusRule."""
        (rule,) = self._rendered("PrometheusRule", "monitoring.rules.enabled=true")
        return list(rule["spec"]["groups"])

    def manifest(self) -> list[dict[str, Any]]:
        """What helm has installed."""
        return [item for item in yaml.safe_load_all(self._helm("get", "manifest", NAME)) if item]

    def withdraw(self) -> None:
        """`helm uninstall`, and wait until all is gone that goes with it."""
        self._helm("uninstall", NAME, "--wait", "--ignore-not-found")

    def uninstall(self) -> None:
        """Remove the release, the CRD that the chart keeps, and the namespace."""
        self.withdraw()
        self.kubectl("delete", "crd", "detectrontrainingjobs.detectron.dev", "--ignore-not-found")
        self.kubectl("delete", "namespace", self.namespace)

    def pod(self) -> Any:
        """The pod of the operator that leads, as the API server shows it."""
        return self.kubectl.get("pod", self._leader())

    def holder(self) -> str:
        """Who holds the Lease: pod name and process; waits until somebody does."""
        held = ("get", "lease", NAME, "--ignore-not-found", "-o", "jsonpath={.spec.holderIdentity}")
        return wait_until(lambda: self.kubectl(*held).strip(), 60, "an operator to lead")

    @contextmanager
    def configured(self, variables: Mapping[str, str]) -> Iterator[None]:
        """While the block runs the operators have these environment variables, as if set by hand."""
        if not variables:
            yield
            return
        given = [f"{name}={value}" for name, value in variables.items()]
        try:
            self._roll_out("set", "env", *given)
            yield
        finally:
            self._roll_out("rollout", "undo")

    def restart(self) -> None:
        """Put new operators in the place of all, and wait until one of them leads."""
        self._roll_out("rollout", "restart")
        pods = self.kubectl("get", "pods", "--selector", SELECTOR, "-o", "name").split()
        wait_until(lambda: f"pod/{self._leader()}" in pods, 60, "a new one to lead", 0.3)

    def kill(self) -> str:
        """SIGKILL the operator that leads; where the nodes are not ours, force its pod's deletion.

        Returns what `holder` said of it.
        """
        holder, pod = self.holder(), self.pod()
        if not self.cluster.ours:
            self.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")
            return holder
        container = str(pod["status"]["containerStatuses"][0].get("containerID", ""))
        node = next(node for node in self.cluster.nodes if node.name == pod["spec"]["nodeName"])
        node.kill_container(container.removeprefix("containerd://"))
        return holder

    def wait_replaced(self, killed: str) -> None:
        """Wait until another operator than the killed one leads."""
        wait_until(lambda: self.holder() != killed, 120, "another operator to lead", 0.3)

    def _leader(self) -> str:
        """The name of the pod that holds the Lease."""
        return self.holder().partition("_")[0]

    def _roll_out(self, command: str, subcommand: str, *values: str) -> None:
        """Change the operators' deployment by kubectl, and wait until all of them are of the new kind."""
        deployment = f"deployment/{NAME}"
        self.kubectl(command, subcommand, deployment, *values)
        self.kubectl("rollout", "status", deployment, "--timeout=120s", timeout=130)

    def _rendered(self, kind: str, value: str) -> list[dict[str, Any]]:
        rendered = self._helm("template", NAME, str(CHART), f"--set={value}")
        return [item for item in yaml.safe_load_all(rendered) if item and item["kind"] == kind]

    def _images(self) -> tuple[str, str]:
        if self.cluster.ours:
            self.cluster.load_image(images.operator(), images.trainer())
            return images.OPERATOR_IMAGE, images.TRAINER_IMAGE
        try:
            return os.environ["DETECTRON_OPERATOR_IMAGE"], os.environ["DETECTRON_TRAINER_IMAGE"]
        except KeyError as missing:
            raise ClusterError(f"with KUBECONFIG set {missing} too, to an image its nodes can pull") from None

    def _helm(self, *arguments: str, stdin: str | None = None) -> str:
        flags = ("--kubeconfig", str(self.cluster.kubeconfig), "--namespace", self.namespace)
        return run(str(binaries.program("helm")), *flags, *arguments, stdin=stdin, timeout=300)


@contextmanager
def installed() -> Iterator[Release]:
    """The release on this machine's cluster; afterwards both are as they were before."""
    there = bool(cluster.status())
    release = Release(cluster.up())
    try:
        release.install()
        try:
            yield release
        finally:
            release.uninstall()
    finally:
        if not there:
            cluster.down()
