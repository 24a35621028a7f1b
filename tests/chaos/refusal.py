"""429 to the operators: API Priority and Fairness gives them one seat for all requests, and it is taken."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kubernetes import config

from tests.chaos.trial import MINUTES, Trial
from tests.cluster.kubectl import Kubectl
from tests.cluster.local import LocalCluster
from tests.cluster.waiting import wait_until

_NAME = "one-seat"
_SITTER = "seat-sitter"
_ANY_USER_MAY = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@contextmanager
def refused(trial: Trial) -> Iterator[None]:
    """The API server answers 429 to all that the operators ask, renewals of their Lease too.

    Entered when it has refused the first request; for at most a minute, when the API server ends the one that
    keeps the others out.
    """
    kubectl = trial.cluster.kubectl
    before = _refusals(kubectl)
    over = threading.Event()
    kubectl.apply(_level(), _schema(trial))
    try:
        sitting = _sit(kubectl.get("flowschema", _NAME)["metadata"]["uid"], over)
        wait_until(lambda: _refusals(kubectl) > before, MINUTES, "the first request to be refused", 0.2)
        yield
        over.set()
        sitting.join()
    finally:
        over.set()
        kubectl("delete", "flowschema,prioritylevelconfiguration", _NAME)


def _sit(schema: str, over: threading.Event) -> threading.Thread:
    """Take the seat, with a request whose body does not end before `over`."""
    client = config.new_client_from_config(str(LocalCluster().plane.kubeconfig_for(_SITTER)))
    pool, host = client.rest_client.pool_manager, client.configuration.host

    def counted() -> bool:
        return bool(
            pool.request("GET", f"{host}/version").headers.get("X-Kubernetes-PF-FlowSchema-UID") == schema
        )

    def body() -> Iterator[bytes]:
        yield b"{"
        over.wait(MINUTES)
        yield b"}"

    wait_until(counted, MINUTES, "the API server to know the flow schema", 0.1)
    headers = {"Content-Type": "application/json"}
    request = {
        "method": "POST",
        "url": host + _ANY_USER_MAY,
        "body": body(),
        "headers": headers,
        "retries": False,
    }
    thread = threading.Thread(target=pool.request, kwargs=request, name=_SITTER, daemon=True)
    thread.start()
    return thread


def _refusals(kubectl: Kubectl) -> float:
    """How many requests the API server has refused for want of a seat."""
    metrics = kubectl("get", "--raw", "/metrics")
    series = rf'^apiserver_flowcontrol_rejected_requests_total{{.*flow_schema="{_NAME}".*}} (\S+)$'
    return sum(map(float, re.findall(series, metrics, re.MULTILINE)))


def _level() -> dict[str, Any]:
    """With no seat of its own the level serves one request at a time, and lets nobody wait."""
    limited = {
        "nominalConcurrencyShares": 0,
        "lendablePercent": 0,
        "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Reject"},
    }
    return _object("PriorityLevelConfiguration", {"type": "Limited", "limited": limited})


def _schema(trial: Trial) -> dict[str, Any]:
    """All requests of the operators and the sitter, at that level."""
    account = trial.release.pod()["spec"]["serviceAccountName"]
    operators = {"name": account, "namespace": trial.release.namespace}
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}
    rule = {
        "subjects": [
            {"kind": "ServiceAccount", "serviceAccount": operators},
            {"kind": "User", "user": {"name": _SITTER}},
        ],
        "resourceRules": [{**everything, "clusterScope": True}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }
    level = {"priorityLevelConfiguration": {"name": _NAME}}
    return _object("FlowSchema", {"matchingPrecedence": 2, **level, "rules": [rule]})


def _object(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    version = "flowcontrol.apiserver.k8s.io/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": _NAME}, "spec": spec}
