"""What the operator said of a job and when."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import urllib3

from tests.apiserver.api import Api, ApiError
from tests.chaos.background import Background

_PERIOD = 0.1


@dataclass(frozen=True)
class Seen:
    """A status, and the time at which it was first seen."""

    at: float
    status: Mapping[str, Any]

    @property
    def cause(self) -> str | None:
        """Why the job restarts or has ended."""
        return next(
            (c["reason"] for c in self.conditions if c["type"] != "Running" and c["status"] == "True"), None
        )

    @property
    def conditions(self) -> list[Mapping[str, str]]:
        return list(self.status.get("conditions", ()))

    @property
    def verdict(self) -> object:
        """All but the numbers of the training: what changes only when the operator has noticed something."""
        told = ("phase", "attempt", "restarts", "replicaStatuses", "failure")
        conditions = [(c["type"], c["status"], c["reason"]) for c in self.conditions]
        return [self.status.get(name) for name in told], conditions


class StatusWatch(Background):
    """While entered, collects each new verdict of the operator on one job."""

    def __init__(self, api: Api, job: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__("statuses")
        self.seen: list[Seen] = []
        self._api, self._job, self._clock = api, job, clock

    @property
    def latest(self) -> Mapping[str, Any]:
        """The last status; empty before the first."""
        return self.seen[-1].status if self.seen else {}

    def noticed(self, cause: str, since: float) -> float | None:
        """Seconds from `since` until the operator named this cause; None if it never did."""
        return next((seen.at - since for seen in self.seen if seen.at > since and seen.cause == cause), None)

    def causes(self, since: float) -> list[str]:
        """The different reasons of restarts, suspensions and the end, in order."""
        return list(dict.fromkeys(seen.cause for seen in self.seen if seen.at > since and seen.cause))

    def _run(self) -> None:
        while not self._over.wait(_PERIOD):
            try:
                job = self._api.find("detectrontrainingjobs", self._job)
            except (urllib3.exceptions.HTTPError, ApiError):
                continue  # the API server is what a scenario takes away
            seen = Seen(self._clock(), (job or {}).get("status", {}))
            if not self.seen or seen.verdict != self.seen[-1].verdict:
                self.seen.append(seen)
