"""A DetectronTrainingJob as a user sees it: applied, watched, changed and deleted with kubectl."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.kubectl import Kubectl
from tests.cluster.waiting import wait_until

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "job.yaml"
TERMINAL = ("Succeeded", "Failed")


class JobError(RuntimeError):
    """The job ended otherwise than it should have; the message has its status."""


@dataclass(frozen=True)
class TrainingJob:
    """One job in the namespace that `kubectl` is bound to."""

    kubectl: Kubectl
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    def apply(self) -> None:
        self.kubectl.apply(self.manifest)

    def suspend(self, suspended: bool) -> None:
        patch = json.dumps({"spec": {"runPolicy": {"suspend": suspended}}})
        self.kubectl("patch", "dtj", self.name, "--type=merge", "-p", patch)

    def delete(self) -> None:
        self.kubectl("delete", "dtj", self.name, "--ignore-not-found", timeout=180)

    def read(self) -> dict[str, Any]:
        """The whole object."""
        return dict(self.kubectl.get("dtj", self.name))

    def status(self) -> dict[str, Any]:
        return dict(self.read().get("status", {}))

    def pods(self) -> list[dict[str, Any]]:
        """Its pods, of every attempt."""
        return list(self.kubectl.get("pods", "--selector", f"detectron.dev/job={self.name}")["items"])

    def scheduled(self) -> set[str]:
        """The UIDs of all pods that it ever had on a node, by what the scheduler told of them."""
        events = self.kubectl.get("events", "--field-selector", "reason=Scheduled,involvedObject.kind=Pod")[
            "items"
        ]
        about = (event["involvedObject"] for event in events)
        return {str(pod["uid"]) for pod in about if re.fullmatch(rf"{self.name}-\d+-\d+(r\d+)?", pod["name"])}

    def children(self) -> list[str]:
        """Names of everything that belongs to it."""
        found = self.kubectl(
            "get", "pods,services,configmaps", "--selector", f"detectron.dev/job={self.name}", "-o", "name"
        )
        return found.split()

    def wait(self, reached: Callable[[dict[str, Any]], bool], timeout: float, what: str) -> dict[str, Any]:
        """Wait until `reached(status)`; the status then.

        Raises:
            JobError: the job ended before.
            TimeoutError: it took longer than `timeout` seconds.
        """

        def look() -> dict[str, Any] | None:
            status = self.status()
            if reached(status):
                return status
            if status.get("phase") in TERMINAL:
                raise JobError(f"{self.name} ended before {what}: {json.dumps(status, indent=1)}")
            return None

        status = wait_until(look, timeout, f"{self.name}: {what}", interval=0.3)
        assert status is not None
        return status

    def wait_phase(self, phase: str, timeout: float) -> dict[str, Any]:
        return self.wait(lambda status: status.get("phase") == phase, timeout, f"phase {phase}")

    def wait_iteration(self, iteration: int, timeout: float) -> dict[str, Any]:
        """Wait until at least this many iterations are complete."""
        return self.wait(lambda s: s.get("iteration", 0) >= iteration, timeout, f"iteration {iteration}")


def digits(name: str, *, overrides: tuple[str, ...] = (), **spec: Any) -> dict[str, Any]:
    """The digits example on two nodes, under another name, with further overrides and fields of the spec."""
    manifest: dict[str, Any] = yaml.safe_load(DIGITS.read_text())
    manifest["metadata"]["name"] = name
    manifest["spec"] |= {"numNodes": 2, "numProcPerNode": 1, **spec}
    manifest["spec"]["config"]["overrides"] = list(overrides)
    return manifest
