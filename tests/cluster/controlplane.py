"""etcd, the API server, the controllers and the scheduler: a Kubernetes without nodes, in one folder.

`with ControlPlane(tmp_path) as plane` starts and stops it. `plane.apiserver.kill()` is a fault, and
`plane.start()` starts again what does not run.
"""

from __future__ import annotations

import datetime
import functools
import json
import signal
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.cluster import binaries, pki
from tests.cluster.daemon import Daemon
from tests.cluster.kubectl import Kubectl
from tests.cluster.waiting import wait_until

_SERVICE_ISSUER = "https://kubernetes.default.svc"
_SERVICE_RANGE, _SERVICE_ADDRESS = "10.96.0.0/16", "10.96.0.1"
_KUBELET_CLIENT = "kube-apiserver-kubelet-client"
_CONTROLLERS, _SCHEDULER = "system:kube-controller-manager", "system:kube-scheduler"
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True)
class Ports:
    """The TCP ports that a control plane listens on."""

    apiserver: int
    etcd: int
    etcd_peer: int

    @classmethod
    def free(cls) -> Ports:
        """Three ports that nobody listens on now."""
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        ports = [s.getsockname()[1] for s in sockets]
        for s in sockets:
            s.close()
        return cls(*ports)


class ControlPlane:
    """A control plane in `directory`, which holds its keys, its data and its logs.

    Args:
        directory: a folder of its own; starting again in it continues with the same data.
        ports: where it listens; free ports by default.
        address: the address by which clients (and pods) reach the API server.
        controllers: whether to run kube-controller-manager. Without it nothing makes service accounts, so the
            admission plugin that asks for them is off too.
        scheduler: whether to run kube-scheduler.
        audit: whether to write `audit_log`, one JSON event a line, at the level Metadata.
        detached: whether the programs outlive the process that started them.
        apiserver_flags, controller_flags: further flags.
        env: further environment of the programs.
    """

    def __init__(
        self,
        directory: Path,
        ports: Ports | None = None,
        *,
        address: str = "127.0.0.1",
        controllers: bool = True,
        scheduler: bool = True,
        audit: bool = False,
        detached: bool = False,
        apiserver_flags: Sequence[str] = (),
        controller_flags: Sequence[str] = (),
        env: dict[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.address = address
        self.ports = ports or Ports.free()
        self.audit_log = directory / "audit.log"
        self.kubeconfig = directory / "admin.kubeconfig"
        self.kubectl = Kubectl(self.kubeconfig)
        self._keys = directory / "pki"
        self._env, self._detached = env or {}, detached

        self.etcd = self._daemon("etcd", self._etcd_flags())
        flags = [*self._apiserver_flags(controllers, audit), *apiserver_flags]
        self.apiserver = self._daemon("kube-apiserver", flags)
        self.controller_manager = (
            self._daemon("kube-controller-manager", [*self._controller_flags(), *controller_flags])
            if controllers
            else None
        )
        self.scheduler = self._daemon("kube-scheduler", self._scheduler_flags()) if scheduler else None

    @functools.cached_property
    def authority(self) -> pki.Authority:
        """Who signs the certificates; its keys are made at the first use."""
        return pki.Authority(self._keys, datetime.datetime.now(datetime.UTC))

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{self.address}:{self.ports.apiserver}"

    @property
    def daemons(self) -> list[Daemon]:
        """The programs, in the order in which they start."""
        every = (self.etcd, self.apiserver, self.controller_manager, self.scheduler)
        return [daemon for daemon in every if daemon is not None]

    def start(self) -> None:
        """Start what does not run and wait until the API server and the controllers answer."""
        self._write_configuration()
        for daemon in self.daemons:
            daemon.start()
        self.wait_ready()

    def wait_ready(self, timeout: float = 60) -> None:
        """Wait until the API server says that it is ready, and that new namespaces get their service account.

        Raises:
            DaemonError: a program ended meanwhile.
            TimeoutError: it took longer than `timeout` seconds.
        """

        def answers(path: str) -> bool:
            for daemon in self.daemons:
                daemon.check()
            return self.reads(path)

        wait_until(lambda: answers("/readyz"), timeout, "the API server to be ready", interval=0.1)
        if self.controller_manager is not None:
            account = "/api/v1/namespaces/default/serviceaccounts/default"
            wait_until(lambda: answers(account), timeout, "the controllers to be ready", interval=0.1)

    def reads(self, path: str) -> bool:
        """Whether the API server answers 200 to an administrator's GET of `path`."""
        try:
            with urllib.request.urlopen(self.server + path, timeout=5, context=self._tls()) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def compact(self) -> None:
        """Have etcd forget all but the present."""
        now = self._ask_etcd("range", {"key": "AA=="})["header"]["revision"]
        self._ask_etcd("compaction", {"revision": now, "physical": True})

    def _ask_etcd(self, what: str, question: dict[str, object]) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.ports.etcd}/v3/kv/{what}"
        with urllib.request.urlopen(url, json.dumps(question).encode(), timeout=30) as response:
            return dict(json.load(response))

    def stop(self) -> None:
        """Kill every program; the data stays in the directory."""
        for daemon in reversed(self.daemons):
            daemon.signal(signal.SIGCONT)
            daemon.kill()

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig file for this user and groups, with a client certificate made on the spot."""
        path = self._kubeconfig_path(user)
        pki.write_private(path, self.authority.kubeconfig(self.server, user, groups).encode())
        return path

    def _kubeconfig_path(self, user: str) -> Path:
        return self.directory / f"{user.replace(':', '-')}.kubeconfig"

    def _write_configuration(self) -> None:
        """Write the keys and files that the programs' flags name."""
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
        hosts = [*names, "127.0.0.1", _SERVICE_ADDRESS, self.address]
        for user, groups, served in (
            ("kube-apiserver", (), hosts),
            (_KUBELET_CLIENT, ("system:masters",), ()),
            ("probe", ("system:masters",), ()),
        ):
            if not (self._keys / f"{user}.key").exists():
                self.authority.issue(user, groups, served).write(self._keys / user)
        pki.write_service_account_keys(self._keys)
        self.kubeconfig_for("admin", ["system:masters"])
        self.kubeconfig_for(_CONTROLLERS, ["system:masters"])
        self.kubeconfig_for(_SCHEDULER)
        (self.directory / "audit-policy.json").write_text(json.dumps(_AUDIT_POLICY))

    def __enter__(self) -> ControlPlane:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _daemon(self, program: str, flags: Sequence[str]) -> Daemon:
        argv = (str(binaries.program(program)), *flags)
        return Daemon(program, argv, self.directory, env=self._env, detached=self._detached)

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.path))
        context.load_cert_chain(self._keys / "probe.crt", self._keys / "probe.key")
        return context

    def _etcd_flags(self) -> list[str]:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.ports.etcd, self.ports.etcd_peer))
        return [
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            # The data has to survive the death of etcd, not of the machine.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _apiserver_flags(self, controllers: bool, audit: bool) -> list[str]:
        flags = [
            f"--etcd-servers=http://127.0.0.1:{self.ports.etcd}",
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            f"--secure-port={self.ports.apiserver}",
            f"--tls-cert-file={self._keys / 'kube-apiserver.crt'}",
            f"--tls-private-key-file={self._keys / 'kube-apiserver.key'}",
            f"--client-ca-file={self._keys / 'ca.crt'}",
            f"--kubelet-client-certificate={self._keys / f'{_KUBELET_CLIENT}.crt'}",
            f"--kubelet-client-key={self._keys / f'{_KUBELET_CLIENT}.key'}",
            f"--kubelet-certificate-authority={self._keys / 'ca.crt'}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-issuer={_SERVICE_ISSUER}",
            f"--service-account-key-file={self._keys / 'service-account.pub'}",
            f"--service-account-signing-key-file={self._keys / 'service-account.key'}",
            f"--service-cluster-ip-range={_SERVICE_RANGE}",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            "--endpoint-reconciler-type=" + ("none" if self.address == "127.0.0.1" else "lease"),
        ]
        if not controllers:
            flags.append("--disable-admission-plugins=ServiceAccount")
        if audit:
            policy = self.directory / "audit-policy.json"
            flags += [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}"]
        return flags

    def _controller_flags(self) -> list[str]:
        return [
            f"--kubeconfig={self._kubeconfig_path(_CONTROLLERS)}",
            f"--service-account-private-key-file={self._keys / 'service-account.key'}",
            f"--root-ca-file={self._keys / 'ca.crt'}",
            f"--cluster-signing-cert-file={self._keys / 'ca.crt'}",
            f"--cluster-signing-key-file={self._keys / 'ca.key'}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--secure-port=0",
            # The client limits of a whole production cluster would be what a burst of tests measures.
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]

    def _scheduler_flags(self) -> list[str]:
        return [
            f"--kubeconfig={self._kubeconfig_path(_SCHEDULER)}",
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=1000",
            "--kube-api-burst=2000",
        ]
