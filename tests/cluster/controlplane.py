"""etcd, the API server, the controllers and the scheduler: a Kubernetes without nodes, in one folder.

`with ControlPlane(tmp_path) as plane` starts and stops it. `plane.apiserver.kill()` is a fault, and
`plane.start()` starts again what does not run.
"""

from __future__ import annotations

import datetime
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

from tests.cluster import binaries, pki
from tests.cluster.daemon import Daemon
from tests.cluster.kubectl import Kubectl
from tests.cluster.waiting import wait_until

_SERVICE_ISSUER = "https://kubernetes.default.svc"
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
        self.authority = pki.Authority(directory / "pki", datetime.datetime.now(datetime.UTC))
        self.audit_log = directory / "audit.log"
        self.kubeconfig = self.kubeconfig_for("admin", ["system:masters"])
        self.kubectl = Kubectl(self.kubeconfig)
        self._service_account_keys = pki.service_account_keys(directory / "pki")
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

    def stop(self) -> None:
        """Kill every program; the data stays in the directory."""
        for daemon in reversed(self.daemons):
            daemon.signal(signal.SIGCONT)
            daemon.kill()

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig file for this user and groups, with a client certificate made on the spot."""
        path = self.directory / f"{user.replace(':', '-')}.kubeconfig"
        pki.write_private(path, self.authority.kubeconfig(self.server, user, groups).encode())
        return path

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
        stem = self.directory / "pki" / "probe"
        if not stem.with_name("probe.key").exists():
            self.authority.issue("probe", ["system:masters"]).write(stem)
        context.load_cert_chain(stem.with_name("probe.crt"), stem.with_name("probe.key"))
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
        keys = self.directory / "pki"
        hosts = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
        certificate, key = self.authority.issue(
            "kube-apiserver", hosts=[*hosts, "127.0.0.1", "10.96.0.1", self.address]
        ).write(keys / "apiserver")
        client, client_key = self.authority.issue("kube-apiserver-client", ["system:masters"]).write(
            keys / "apiserver-client"
        )
        private, public = self._service_account_keys
        flags = [
            f"--etcd-servers=http://127.0.0.1:{self.ports.etcd}",
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            f"--secure-port={self.ports.apiserver}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--client-ca-file={self.authority.path}",
            f"--kubelet-client-certificate={client}",
            f"--kubelet-client-key={client_key}",
            f"--kubelet-certificate-authority={self.authority.path}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-issuer={_SERVICE_ISSUER}",
            f"--service-account-key-file={public}",
            f"--service-account-signing-key-file={private}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            "--endpoint-reconciler-type=" + ("none" if self.address == "127.0.0.1" else "lease"),
        ]
        if not controllers:
            flags.append("--disable-admission-plugins=ServiceAccount")
        if audit:
            policy = self.directory / "audit-policy.json"
            policy.write_text(json.dumps(_AUDIT_POLICY))
            flags += [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}"]
        return flags

    def _controller_flags(self) -> list[str]:
        keys = self.directory / "pki"
        return [
            f"--kubeconfig={self.kubeconfig_for('system:kube-controller-manager', ['system:masters'])}",
            f"--service-account-private-key-file={self._service_account_keys[0]}",
            f"--root-ca-file={self.authority.path}",
            f"--cluster-signing-cert-file={keys / 'ca.crt'}",
            f"--cluster-signing-key-file={keys / 'ca.key'}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--secure-port=0",
            # The client limits of a whole production cluster would be what a burst of tests measures.
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]

    def _scheduler_flags(self) -> list[str]:
        return [
            f"--kubeconfig={self.kubeconfig_for('system:kube-scheduler')}",
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=1000",
            "--kube-api-burst=2000",
        ]
