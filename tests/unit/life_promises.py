"""What must hold of a job at any moment of its life, and between any two of its statuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from hypothesis.stateful import RuleBasedStateMachine, invariant

from detectron_operator.history import read_history
from tests.unit.life_world import TERMINAL, World
from tests.unit.operator_objects import after, raw_job

CRD = yaml.safe_load((Path(__file__).parents[2] / "crds" / "detectrontrainingjobs.yaml").read_text())
STATUS = jsonschema.Draft202012Validator(
    CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    | {"additionalProperties": False}
)
KEPT = (
    "phase",
    "message",
    "conditions",
    "completionTime",
    "startTime",
    "attempt",
    "restarts",
    "failure",
    "preflight",
)
"""What no longer changes when a job has ended."""


class Promises(RuleBasedStateMachine):
    """A job with its world; whoever writes to either does so by the methods below."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = raw_job()
        self.world = World()
        self.services: set[str] = set()
        self.size = 1
        self.limit = self.within = 0
        self.seen_attempt = self.seen_restarts = 0
        self.ended: dict[str, Any] | None = None

    @property
    def elastic(self) -> bool:
        """Whether the gang can train with fewer pods."""
        return "minNodes" in self.raw["spec"]["elasticPolicy"]

    @property
    def status(self) -> dict[str, Any]:
        """The stored status."""
        status: dict[str, Any] = self.raw.get("status", {})
        return status

    def now(self) -> datetime:
        """The API server's time."""
        return after(self.world.seconds)

    def write(self, status: Mapping[str, object]) -> None:
        """Store a status: each second between two of them is accounted for once, whatever the clock does."""
        old, new = self.status, json.loads(json.dumps(status))
        self.raw["status"] = new
        if old.get("phase") in TERMINAL:
            assert accounted(new) == accounted(old)
        else:
            until = old["goodput"]["accountedTime"] if old else new["goodput"]["accountedTime"]
            passed = (self.now() - datetime.fromisoformat(until)).total_seconds()
            assert accounted(new) - accounted(old) == max(0, passed)
            assert datetime.fromisoformat(new["goodput"]["accountedTime"]) == self.now()

    def create(self, kind: str, manifest: Any) -> None:
        """Create a child: no pod before the pause is over, none of a gang before what has to come first."""
        if kind != "Pod":
            self.services.add(manifest["metadata"]["name"])
            return
        assert read_history(self.status).left(self.now()) == 0
        first = {(pod.attempt, pod.index) for pod in self.world.observed() if pod.node and not pod.preflight}
        made = self.world.create(manifest)
        if made.checks:
            return
        assert not self.raw["spec"]["preflight"]["enabled"] or self.status["preflight"]["phase"] == "Passed"
        assert made.index == 0 or not self.elastic or (made.attempt, 0) in first

    @invariant()
    def a_gang_that_runs_has_its_service(self) -> None:
        assert self.services or self.status.get("phase") != "Running"

    @invariant()
    def never_two_pods_at_one_index(self) -> None:
        held = [pod.index for pod in self.world.gang if pod.alive]
        assert len(held) == len(set(held))
        assert sum(pod.alive for pod in self.world.pods.values() if pod.checks) <= 1

    @invariant()
    def counts_only_grow_and_keep_to_the_limit(self) -> None:
        attempt, restarts = self.status.get("attempt", 0), self.status.get("restarts", 0)
        assert attempt >= self.seen_attempt
        assert self.seen_restarts <= restarts <= self.limit
        self.seen_attempt, self.seen_restarts = attempt, restarts

    @invariant()
    def every_restart_has_its_reason(self) -> None:
        told = sum(item["count"] for item in self.status.get("restartsByReason", []))
        replaced = sum(item["count"] for item in self.status.get("replacements", []))
        assert self.status.get("restarts", 0) <= told
        # Pods that are lost together are replaced by one restart.
        assert self.elastic or replaced <= min(self.within, told * (self.size - 1))
        assert not replaced or told

    @invariant()
    def the_end_is_the_end(self) -> None:
        if self.ended is not None:
            assert [self.status.get(f) for f in KEPT] == [self.ended.get(f) for f in KEPT]
            assert self.status.get("iteration", 0) >= self.ended.get("iteration", 0)
        elif self.status.get("phase") in TERMINAL:
            self.ended = self.status

    @invariant()
    def the_schema_takes_the_status(self) -> None:
        if self.status:
            STATUS.validate(self.status)
            held = [c["type"] for c in self.status["conditions"] if c["status"] == "True"]
            assert len(held) <= 1
            assert self.status["message"]


def accounted(status: Mapping[str, Any]) -> int:
    """Seconds of the wall clock that a status accounts for."""
    account = status.get("goodput", {})
    phases = ("pending", "running", "suspended", "queued")
    down: int = sum(loss["downSeconds"] for loss in account.get("losses", []))
    up: int = sum(account.get(f"{phase}Seconds", 0) for phase in phases)
    return up + down
