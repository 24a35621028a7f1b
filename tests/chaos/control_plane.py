"""What can happen to the API server, to etcd, and between them and the operators."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.chaos import faults
from tests.chaos.trial import Trial
from tests.cluster.kubectl import KubectlError
from tests.cluster.local import LocalCluster


def stop_api_server(trial: Trial, seconds: float) -> None:
    """Kill it, and start it again after so many seconds."""
    plane = LocalCluster().plane
    trial.undo.callback(plane.start)
    plane.apiserver.kill()
    time.sleep(seconds)  # it is the time away that is tested
    plane.start()


def restart_etcd(trial: Trial) -> None:
    """Kill it, and start it again at once."""
    plane = LocalCluster().plane
    trial.undo.callback(plane.start)
    plane.etcd.kill()
    plane.start()


@contextmanager
def frozen_operator(trial: Trial) -> Iterator[None]:
    """The operator that leads stands still (SIGSTOP), and goes on afterwards."""
    name = str(trial.release.pod()["metadata"]["name"])
    try:
        faults.signal_pod(name, signal.SIGSTOP)
        yield
    finally:
        faults.signal_pod(name, signal.SIGCONT)


@contextmanager
def forgotten(trial: Trial) -> Iterator[None]:
    """What happens meanwhile no watch can tell later: every watch is cut, and one from before is too old.

    Raises:
        KubectlError: the API server would still begin a watch from before.
    """
    plane, kubectl = LocalCluster().plane, trial.kubectl
    pods = f"/api/v1/namespaces/{kubectl.namespace}/pods"
    before = json.loads(kubectl("get", "--raw", pods))["metadata"]["resourceVersion"]
    yield
    trial.undo.callback(plane.start)
    plane.compact()
    plane.apiserver.kill()
    plane.start()
    query = f"watch=1&timeoutSeconds=5&resourceVersion={before}"
    answer = kubectl("get", "--raw", f"{pods}?{query}")
    if '"code":410' not in answer:
        raise KubectlError(f"a watch from version {before} is answered {answer[:300]}")
