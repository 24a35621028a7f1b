"""How long a gang that lost a pod takes until all its pods run again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kubernetes import config

from detectron_operator import labels
from tests.cluster.waiting import wait_until

TIMEOUT = 60.0


class Recovery:
    """Takes pods from running jobs of `pods` pods in a namespace, and watches what follows."""

    def __init__(self, kubeconfig: Path, namespace: str, pods: int) -> None:
        client = config.new_client_from_config(str(kubeconfig))
        self._pool = client.rest_client.pool_manager
        self._url = f"{client.configuration.host}/api/v1/namespaces/{namespace}/pods"
        self._pods = pods

    def after_deletion(self, job: str) -> float:
        """Seconds from the request to delete a job's last pod until as many pods run as before."""
        return self._measure(job, max, lambda name: self._request("DELETE", f"/{name}", {}))

    def after_failure(self, job: str) -> float:
        """Seconds from the report that a job's last pod failed until as many pods run as before."""
        return self._measure(job, max, self._fail)

    def after_failure_of_the_first(self, job: str) -> float:
        """The same of node 0's pod, with which the whole gang starts anew: until all pods of the next run."""
        return self._measure(job, min, self._fail, whole_gang=True)

    def _fail(self, pod: str) -> None:
        ended = {"exitCode": 1, "reason": "Error", "finishedAt": "2026-01-01T00:00:00Z"}
        container = {"name": "trainer", "image": "", "imageID": "", "ready": False, "restartCount": 0}
        status = {"phase": "Failed", "containerStatuses": [container | {"state": {"terminated": ended}}]}
        self._request("PATCH", f"/{pod}/status", {"status": status})

    def _measure(
        self,
        job: str,
        choose: Callable[..., dict[str, Any]],
        lose: Callable[[str], object],
        *,
        whole_gang: bool = False,
    ) -> float:
        found = wait_until(lambda: self._all(job), TIMEOUT, f"all pods of {job} to run")
        assert found is not None
        running, version = found
        victim = choose(running.values(), key=lambda pod: int(pod["metadata"]["labels"][labels.NODE_INDEX]))
        lost = set(running) if whole_gang else {victim["metadata"]["uid"]}
        running = {uid: pod for uid, pod in running.items() if uid not in lost}
        began = time.monotonic()
        lose(victim["metadata"]["name"])
        for kind, pod in self._watch(job, version):
            uid = pod["metadata"]["uid"]
            if kind == "DELETED" or not _runs(pod):
                running.pop(uid, None)
            elif uid not in lost:
                running[uid] = pod
            if len(running) == self._pods:
                return time.monotonic() - began
        raise TimeoutError(f"{job} has {len(running)} of {self._pods} pods after {TIMEOUT:.0f} s")

    def _all(self, job: str) -> tuple[dict[str, dict[str, Any]], str] | None:
        """A job's running pods by uid and the version of that state; None unless all run."""
        found = self._request("GET", f"?labelSelector={labels.JOB}={job}")
        running = {pod["metadata"]["uid"]: pod for pod in found["items"] if _runs(pod)}
        return (running, found["metadata"]["resourceVersion"]) if len(running) == self._pods else None

    def _watch(self, job: str, version: str) -> Iterator[tuple[str, dict[str, Any]]]:
        query = f"watch=true&labelSelector={labels.JOB}={job}&resourceVersion={version}"
        query += f"&timeoutSeconds={TIMEOUT:.0f}"
        answer = self._pool.request("GET", f"{self._url}?{query}", preload_content=False, timeout=None)
        rest = b""
        try:
            for chunk in answer.stream(amt=None):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    yield event["type"], event["object"]
        finally:
            answer.close()

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        kind = "application/strategic-merge-patch+json" if method == "PATCH" else "application/json"
        answer = self._pool.request(
            method, self._url + path, body=json.dumps(body) if body else None, headers={"Content-Type": kind}
        )
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status}: {answer.data.decode()}")
        parsed: dict[str, Any] = json.loads(answer.data)
        return parsed


def _runs(pod: dict[str, Any]) -> bool:
    return pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
