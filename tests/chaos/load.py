"""Load on the API server, the operator and the scheduler: jobs that come and go."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import urllib3

from tests.apiserver.api import Api, ApiError
from tests.chaos.background import Background
from tests.chaos.trial import small
from tests.cluster.kubectl import Kubectl

PERIOD = 0.2
"""Seconds between two new jobs."""
ALIVE = 50
"""Jobs that there are at most: from then on the oldest goes when another comes."""
_LABEL = "load"


class JobChurn(Background):
    """While entered, creates a job of two pods every `PERIOD` and deletes the oldest; none is left then.

    Their pods find no node: they cost what a control plane has to do for them, and no more of the machine.

    Raises:
        ApiError, urllib3.exceptions.HTTPError: on leaving, if the API server did not take a job.
    """

    def __init__(self, kubeconfig: Path, kubectl: Kubectl) -> None:
        super().__init__("churn")
        self._api = Api(kubeconfig, kubectl.namespace or "default")
        self._kubectl = kubectl
        self.full = threading.Event()
        """Set when there are `ALIVE` jobs and the first has been deleted."""
        self._failure: Exception | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._kubectl("delete", "dtj", "--selector", _LABEL)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        number = 0
        try:
            while not self._over.wait(PERIOD):
                self._api.create("detectrontrainingjobs", _job(number))
                if number >= ALIVE:
                    self._api.delete("detectrontrainingjobs", _name(number - ALIVE))
                    self.full.set()
                number += 1
        except (ApiError, urllib3.exceptions.HTTPError) as failure:
            self._failure = failure


def _name(number: int) -> str:
    return f"load-{number}"


def _job(number: int) -> dict[str, Any]:
    manifest = small(_name(number), nodeSelector={"no-node": "has-this"})
    manifest["metadata"]["labels"] = {_LABEL: ""}
    return manifest
