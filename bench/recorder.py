"""Notes when each pod of each job came to be, as a watch sees it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import config

from detectron_operator import labels

_METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


class Recorder:
    """Watches the pods of all jobs of a namespace from a thread of its own.

    Only metadata is asked for, so that watching takes little from what is measured.
    """

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        client = config.new_client_from_config(str(kubeconfig))
        path = f"/api/v1/namespaces/{namespace}/pods"
        self._url = f"{client.configuration.host}{path}?watch=true&labelSelector={labels.SELECTOR}"
        self._pool = client.rest_client.pool_manager
        self._seen: dict[str, dict[str, float]] = defaultdict(dict)
        self._changed = threading.Condition()
        threading.Thread(target=self._watch, name="recorder", daemon=True).start()

    def created(self, job: str, pods: int, timeout: float = 300) -> float:
        """The monotonic time at which the last of so many pods of a job was there; waits for it.

        Raises:
            TimeoutError: they were not there in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._seen[job]) >= pods, timeout):
                raise TimeoutError(f"{job} has {len(self._seen[job])} of {pods} pods after {timeout:.0f} s")
            return max(self._seen[job].values())

    def _watch(self) -> None:
        # The end of the API server is the end of all watches. It ends one whose reader is slow, too: the next
        # begins with all pods that there are.
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            while True:
                self._follow()

    def _follow(self) -> None:
        answer: urllib3.BaseHTTPResponse = self._pool.request(
            "GET", self._url, headers={"Accept": _METADATA_ONLY}, preload_content=False, timeout=None
        )
        rest = b""
        for chunk in answer.stream(amt=None):
            now = time.monotonic()
            *lines, rest = (rest + chunk).split(b"\n")
            self._note([json.loads(line) for line in lines], now)

    def _note(self, events: Sequence[dict[str, Any]], now: float) -> None:
        with self._changed:
            for event in events:
                if event["type"] == "ADDED":
                    meta = event["object"]["metadata"]
                    self._seen[meta["labels"][labels.JOB]].setdefault(meta["name"], now)
            self._changed.notify_all()
