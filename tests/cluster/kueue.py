"""A real Kueue beside a control plane: its manager as a process, its webhooks by URL."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from tests.cluster import binaries
from tests.cluster.controlplane import ControlPlane
from tests.cluster.daemon import Daemon
from tests.cluster.waiting import wait_until

MODULE = "sigs.k8s.io/kueue"
_CONVERTED = ("clusterqueues", "cohorts", "localqueues", "multikueueclusters", "workloads")
_WEBHOOKS = {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}

_FEATURES = "--feature-gates=VisibilityOnDemand=false"
"""Without a further API server, of its own, which serves who is before whom in a queue."""

Manifest = dict[str, Any]


class Kueue:
    """Kueue as its own manifests install it, for pods alone.

    While it runs the API server asks it about every pod, so it wants a control plane of its own.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._folder = plane.directory / "kueue"
        self._webhooks, self._health, self._metrics = _free_ports(3)
        manager = f"{binaries.program('kueue')} --config={self._folder / 'config.yaml'} {_FEATURES}"
        # It reads a certificate from a path below /etc that nobody can choose: in its own view it is there.
        prepare = f"mount -t overlay overlay -o lowerdir={self._folder / 'etc'}:/etc /etc"
        self._manager = Daemon(
            "kueue",
            ("unshare", "--mount", "--fork", "--kill-child", "sh", "-c", f"{prepare} && exec {manager}"),
            plane.directory,
            env={"KUBECONFIG": str(plane.kubeconfig)},
        )

    def __enter__(self) -> Kueue:
        try:
            self._start()
        except BaseException:
            self._manager.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._manager.kill()

    def create_queue(self, namespace: str, cpus: int) -> None:
        """A LocalQueue `queue` in a namespace, with a quota of its own; the more urgent preempt the less."""
        group = {"coveredResources": ["cpu"], "flavors": [_flavor(cpus)]}
        cluster_queue = {
            "namespaceSelector": {},
            "resourceGroups": [group],
            "preemption": {"withinClusterQueue": "LowerPriority"},
        }
        self._plane.kubectl.apply(
            _object("ResourceFlavor", "any", {}),
            _object("ClusterQueue", namespace, cluster_queue),
            _object("LocalQueue", "queue", {"clusterQueue": namespace}, namespace),
            {**_object("WorkloadPriorityClass", "urgent", {}), "value": 1000},
        )

    def _start(self) -> None:
        keys = self._folder / "etc/kueue/metrics/certs"
        keys.mkdir(parents=True)
        served = self._plane.authority.issue("kueue", (), ["127.0.0.1"])
        served.write(keys / "tls")
        (self._folder / "config.yaml").write_text(json.dumps(self._configuration(keys)))
        definitions = list(self._resource_definitions())
        # To apply would note each definition in an annotation, for which they are too long.
        manifests = json.dumps({"apiVersion": "v1", "kind": "List", "items": definitions})
        self._plane.kubectl("create", "-f", "-", stdin=manifests)
        self._plane.kubectl("create", "namespace", "kueue-system")
        kinds = {crd["metadata"]["name"] for crd in definitions}
        wait_until(lambda: kinds <= self._served(), 30, "the API server to serve Kueue's kinds")
        self._manager.start()
        wait_until(self._ready, 60, "Kueue to be ready", interval=0.2)
        self._plane.kubectl.apply(*self._webhook_configurations())

    def _served(self) -> set[str]:
        """Kueue's kinds that clients are told of."""
        command = ("api-resources", "--api-group=kueue.x-k8s.io", "--cached=false", "-o", "name")
        return set(self._plane.kubectl(*command).split())

    def _ready(self) -> bool:
        self._manager.check()
        with socket.socket() as attempt:
            return attempt.connect_ex(("127.0.0.1", self._webhooks)) == 0

    def _configuration(self, keys: Path) -> Manifest:
        return {
            "apiVersion": "config.kueue.x-k8s.io/v1beta2",
            "kind": "Configuration",
            "namespace": "kueue-system",
            "health": {"healthProbeBindAddress": f"127.0.0.1:{self._health}"},
            "metrics": {"bindAddress": f"127.0.0.1:{self._metrics}"},
            "webhook": {"host": "127.0.0.1", "port": self._webhooks, "certDir": str(keys)},
            "leaderElection": {"leaderElect": False},
            "internalCertManagement": {"enable": False},
            "integrations": {"frameworks": ["pod"]},
            "clientConnection": {"qps": 200, "burst": 400},
        }

    def _resource_definitions(self) -> Iterator[Manifest]:
        for crd in self._manifests("config/components/crd/bases"):
            if crd["spec"]["names"]["plural"] in _CONVERTED:
                crd["spec"]["conversion"] = {
                    "strategy": "Webhook",
                    "webhook": {
                        "clientConfig": self._client("/convert"),
                        "conversionReviewVersions": ["v1"],
                    },
                }
            yield crd

    def _webhook_configurations(self) -> Iterator[Manifest]:
        for configuration in self._manifests("config/components/webhook"):
            if configuration["kind"] in _WEBHOOKS:
                configuration["metadata"]["name"] = f"kueue-{configuration['metadata']['name']}"
                ours = [hook for hook in configuration["webhooks"] if _is_about_pods(hook)]
                for hook in ours:
                    hook["clientConfig"] = self._client(hook["clientConfig"]["service"]["path"])
                yield {**configuration, "webhooks": ours}

    def _manifests(self, folder: str) -> Iterator[Manifest]:
        for path in sorted((binaries.module_folder("kueue", MODULE) / folder).glob("*.yaml")):
            for manifest in yaml.safe_load_all(path.read_text()):
                if "metadata" in manifest and "apiVersion" in manifest:
                    yield manifest

    def _client(self, path: str) -> Manifest:
        bundle = base64.b64encode(self._plane.authority.path.read_bytes()).decode()
        return {"url": f"https://127.0.0.1:{self._webhooks}{path}", "caBundle": bundle}


def _is_about_pods(hook: Manifest) -> bool:
    """Kueue's own kinds, and pods: the other webhooks are of frameworks that are not asked for."""
    groups = {group for rule in hook["rules"] for group in rule["apiGroups"]}
    return groups <= {"", "kueue.x-k8s.io"}


def _flavor(cpus: int) -> Manifest:
    return {"name": "any", "resources": [{"name": "cpu", "nominalQuota": cpus}]}


def _object(kind: str, name: str, spec: Manifest, namespace: str | None = None) -> Manifest:
    where = {"namespace": namespace} if namespace else {}
    rest = {"spec": spec} if spec else {}
    return {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": kind, "metadata": {"name": name, **where}, **rest}


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
