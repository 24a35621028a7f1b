"""Jobs to apply, one after the other or all at once."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kubernetes import config

from bench.recorder import Recorder
from detectron_operator import names

AT_ONCE = 8
"""Clients that apply a burst's jobs."""
CLAIM = "models"
"""Of every job's output."""
PAUSE = 0.25
"""Seconds between an idle job's last pod and the next job: what the last one causes is over by then."""


class Load:
    """Creates jobs of `pods` pods in a namespace and tells how long their pods took."""

    def __init__(self, kubeconfig: Path, namespace: str, pods: int, recorder: Recorder) -> None:
        client = config.new_client_from_config(str(kubeconfig))
        client.configuration.connection_pool_maxsize = AT_ONCE
        self._pool = client.rest_client.pool_manager
        path = f"/apis/{names.API_VERSION}/namespaces/{namespace}/{names.PLURAL}"
        self._url = client.configuration.host + path
        self._pods = pods
        self._recorder = recorder

    def stored(self) -> dict[str, Any]:
        """A job as the API server would store it, with its defaults."""
        return self._create("dry", "?dryRun=All")

    def idle(self, prefix: str, count: int) -> list[float]:
        """Seconds from the request to create a job until its last pod, for jobs that come one by one."""
        took = []
        for number in range(count):
            name = f"{prefix}-{number}"
            asked = time.monotonic()
            self._create(name)
            took.append(self._recorder.created(name, self._pods) - asked)
            time.sleep(PAUSE)
        return took

    def burst(self, prefix: str, count: int) -> float:
        """Seconds from the first request until the last pod of all jobs, asked for as fast as can be."""
        began = time.monotonic()
        jobs = self.apply(prefix, count)
        return max(self._recorder.created(job, self._pods) for job in jobs) - began

    def apply(self, prefix: str, count: int) -> list[str]:
        """Create so many jobs as fast as can be; returns their names."""
        jobs = [f"{prefix}-{number}" for number in range(count)]
        with ThreadPoolExecutor(AT_ONCE) as clients:
            list(clients.map(self._create, jobs))
        return jobs

    def _create(self, name: str, query: str = "") -> dict[str, Any]:
        body, headers = json.dumps(self._manifest(name)), {"Content-Type": "application/json"}
        answer = self._pool.request("POST", self._url + query, body=body, headers=headers)
        if answer.status != 201:
            raise RuntimeError(f"job {name} was not taken: {answer.status}: {answer.data.decode()}")
        stored: dict[str, Any] = json.loads(answer.data)
        return stored

    def _manifest(self, name: str) -> dict[str, object]:
        dataset = {"name": "train", "split": "train", "annotations": "/data/train.json", "images": "/data"}
        return {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": name},
            "spec": {
                "numNodes": self._pods,
                "resourcesPerNode": {"limits": {"cpu": "1", "memory": "1Gi"}},
                "config": {"base": "COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml"},
                "datasets": [dataset],
                "output": {"claimName": CLAIM},
            },
        }
