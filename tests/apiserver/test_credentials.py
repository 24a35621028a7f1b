"""The API server does not know the operator any more: its token was replaced, or nobody can be told apart."""

from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.apiserver.api import Object
from tests.apiserver.conftest import StartOperator, operator_role
from tests.apiserver.fake_trainer import DONE, progress
from tests.apiserver.faulty_proxy import FaultyProxy
from tests.apiserver.operator_process import Operator
from tests.apiserver.space import Space
from tests.cluster.controlplane import ControlPlane

ACCOUNT = "the-operator"
GANG = ("job-0-0", "job-0-1")
OUTAGE = 10.0


class Tokens:
    """Tokens of a service account in a space, each of which lives as long as a Secret of its name."""

    def __init__(self, space: Space) -> None:
        self._api = space.api
        self._api.create("serviceaccounts", {"metadata": {"name": ACCOUNT}})
        role = operator_role()["metadata"]["name"]
        group, namespace = "rbac.authorization.k8s.io", self._api.namespace
        space.kubectl.apply(
            {
                "apiVersion": f"{group}/v1",
                "kind": "RoleBinding",
                "metadata": {"name": ACCOUNT, "namespace": namespace},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
            }
        )

    def issue(self, name: str) -> str:
        self._api.create("secrets", {"metadata": {"name": name}})
        bound: Object = {"apiVersion": "v1", "kind": "Secret", "name": name}
        path = self._api.path("serviceaccounts", ACCOUNT, "token")
        return str(self._api.request("POST", path, {"spec": {"boundObjectRef": bound}})["status"]["token"])

    def revoke(self, name: str) -> None:
        self._api.delete("secrets", name)


def test_a_token_that_has_run_out_gives_way_to_the_next_one(
    plane: ControlPlane,
    space: Space,
    start_operator: StartOperator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokens = Tokens(space)
    (tmp_path / "ca.crt").write_bytes(plane.authority.path.read_bytes())
    (tmp_path / "token").write_text(tokens.issue("first"))
    server = urlsplit(plane.server)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(server.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    operator = start_operator(program=("tests.apiserver.in_a_pod", str(tmp_path)))
    space.submit()
    space.await_pods(*GANG)

    (tmp_path / "token").write_text(tokens.issue("second"))
    tokens.revoke("first")
    # Watches that are open stay so with any token, for minutes.
    plane.apiserver.kill()
    refused_before = refusals(plane)
    plane.start()

    for pod in GANG:
        space.kubelet.run(pod)
    space.await_status(phase="Running", timeout=60)
    space.submit("next", nodes=1)
    space.wait(lambda: "next-0-0" in space.pods(), "new work to be done", timeout=60)
    assert operator.process.poll() is None
    assert refusals(plane) > refused_before, "nobody came with the first token"


def refusals(plane: ControlPlane) -> int:
    events = map(json.loads, plane.audit_log.read_text().splitlines())
    return sum(event["responseStatus"]["code"] == 401 for event in events)


def test_an_api_server_that_knows_nobody_for_a_while_is_asked_now_and_then(
    space: Space, proxy: FaultyProxy, proxied: Operator
) -> None:
    space.submit()
    space.run(*GANG)
    proxy.refuse = lambda _: 401
    assert proxy.cut_watches() == 2
    began = time.monotonic()
    space.kubelet.end("job-0-1", 0)
    space.kubelet.end("job-0-0", 0, progress(100, verdict=DONE))
    space.wait(lambda: time.monotonic() - began > OUTAGE, "the end of the outage")
    asked = len(proxy.refused)
    proxy.refuse = lambda _: None
    # Two watches and one job; kopf alone would come seven hundred times a second.
    assert asked <= 6 * OUTAGE
    space.submit("next", nodes=1)
    space.wait(lambda: "next-0-0" in space.pods(), "new work to be done", timeout=60)
    space.await_status(phase="Succeeded", timeout=60)
    assert proxied.process.poll() is None
