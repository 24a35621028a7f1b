"""A job whose plans are carried out, and what its pods and its trainer say."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from detectron_operator import progress as progress_document
from detectron_operator.api import parse
from detectron_operator.observed import Pod, observe_pod
from detectron_operator.plan import Plan, Refusal, plan
from detectron_operator.progress import Progress
from tests.unit.operator_objects import DEFAULTS, START, document, failed, gang, pod, raw_job, raw_pod
from tests.unit.telling import held_to_the_reference

TAKEN_AWAY = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}


class Life:
    """A job whose every plan is written down, as the engine does."""

    def __init__(self, **fields: Any) -> None:
        self.raw = raw_job(**fields)
        self.now = START

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.raw.get("status", {}))

    def look(
        self,
        pods: Iterable[Pod] = (),
        progress: Progress | None = None,
        refusal: Refusal | None = None,
        mute: bool = False,
    ) -> Plan:
        """What would be done now."""
        step = plan(parse(self.raw), tuple(pods), progress, self.now, DEFAULTS, refusal, mute=mute)
        return held_to_the_reference(self.status, step)

    def step(self, pods: Iterable[Pod] = (), progress: Progress | None = None, **others: Any) -> Plan:
        """Do it."""
        done = self.look(pods, progress, **others)
        if done.status is not None:
            self.raw["status"] = json.loads(json.dumps(done.status))
        return done

    def suspend(self, value: bool) -> None:
        self.raw["spec"]["runPolicy"] = {**self.raw["spec"]["runPolicy"], "suspend": value}
        self.raw["metadata"]["generation"] += 1

    def scale(self, nodes: int) -> None:
        self.raw["spec"]["numNodes"] = nodes
        self.raw["metadata"]["generation"] += 1

    def condition(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = next(c for c in self.status["conditions"] if c["type"] == kind)
        return found


def running(**fields: Any) -> Life:
    """A job whose gang of two runs."""
    life = Life(**fields)
    life.step()
    life.step(gang())
    assert life.status["phase"] == "Running"
    return life


def children(step: Plan) -> list[tuple[str, str]]:
    return [(child.kind, child.name) for child in step.create]


def spoken(attempt: int = 0, iteration: int = 100, *, at: float = 0.0, **fields: object) -> Progress:
    return progress_document.parse(json.dumps(document(attempt, iteration, at=at, **fields)))


GANG_0 = [("Service", "train"), ("ConfigMap", "train"), ("Pod", "train-0-0"), ("Pod", "train-0-1")]
GANG_1 = [("Service", "train"), ("ConfigMap", "train"), ("Pod", "train-1-0"), ("Pod", "train-1-1")]


GANG_ONLY = {"maxRestarts": 0}
"""No pod is replaced: whatever is lost, the whole gang starts anew."""


def replacement(
    nth: int = 1, phase: str = "Running", *, attempt: int = 0, index: int = 1, **fields: Any
) -> Pod:
    """The pod that took the place of the one before it."""
    raw = raw_pod(attempt, index, phase, **fields)
    raw["metadata"]["name"] += f"r{nth}"
    raw["metadata"]["uid"] += f"r{nth}"
    raw["metadata"]["labels"]["detectron.dev/replacement"] = str(nth)
    seen = observe_pod(raw)
    assert seen is not None
    return seen


KILLED = pod(0, 1, "Failed", terminated={"exitCode": 137, "reason": "Error"})
EVICTED = failed(1, conditions=[{"type": "DisruptionTarget", "status": "True"}])
