"""The pods of a job, sorted into the current attempt and those before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from detectron_operator import reasons
from detectron_operator.api import TrainingJob
from detectron_operator.ending import last_words
from detectron_operator.observed import Pod
from detectron_operator.progress import Progress
from detectron_operator.status import Words

NO_REPLICAS = {"active": 0, "ready": 0, "succeeded": 0, "failed": 0}
"""`.status.replicaStatuses` of an attempt that is yet to start."""


@dataclass(frozen=True, kw_only=True)
class Gang:
    """One attempt's pods by node index, and every pod of the attempts before. `scheme`: of their metrics."""

    size: int
    scheme: Literal["http", "https"]
    attempt: int
    current: Mapping[int, Pod]
    older: Sequence[Pod]

    @property
    def in_words(self) -> str:
        """The size for people."""
        return "1 pod" if self.size == 1 else f"{self.size} pods"

    @property
    def pods(self) -> list[Pod]:
        """Every pod, the current attempt's first."""
        return [*self.current.values(), *self.older]

    @property
    def alive(self) -> list[Pod]:
        """Pods of any attempt whose processes may still run."""
        return [pod for pod in self.pods if pod.alive]

    @property
    def missing(self) -> list[int]:
        """Node indexes of the current attempt that have no pod."""
        return [index for index in range(self.size) if index not in self.current]

    @property
    def finisher(self) -> Pod | None:
        """Node 0's pod that ended with exit code 0: training is complete, whatever became of the others."""
        return next((pod for pod in self.pods if pod.index == 0 and pod.phase == "Succeeded"), None)

    @property
    def running(self) -> bool:
        """Whether every pod of the attempt has come to run."""
        return not self.missing and all(
            pod.phase in ("Running", "Succeeded") for pod in self.current.values()
        )

    @property
    def poll(self) -> str | None:
        """Where rank 0 serves its progress document: a URL up to the port."""
        first = self.current.get(0)
        if first is None or first.phase != "Running" or first.ip is None:
            return None
        return f"{self.scheme}://[{first.ip}]" if ":" in first.ip else f"{self.scheme}://{first.ip}"

    def replicas(self, *, created: int = 0) -> dict[str, int]:
        """`.status.replicaStatuses`, with pods that this very plan creates among the active ones."""
        pods = self.current.values()
        return {
            "active": sum(pod.alive for pod in pods) + created,
            "ready": sum(pod.alive and pod.ready for pod in pods),
            "succeeded": sum(pod.phase == "Succeeded" for pod in pods),
            "failed": sum(pod.phase == "Failed" for pod in pods),
        }

    def waiting(self) -> Words:
        """What the gang waits for, in the scheduler's or kubelet's own words where a pod is stuck."""
        alive = (pod for _, pod in sorted(self.current.items()) if pod.alive)
        first = next((pod for pod in alive if pod.phase != "Running" and pod.reason), None)
        if first is None or first.reason is None:
            return Words(reason=reasons.WAITING_FOR_PODS, message=f"Waiting for {self.in_words} to run")
        said = f"{first.reason}: {first.message}" if first.message else first.reason
        return Words(
            reason=reasons.word(first.reason, otherwise=reasons.WAITING_FOR_PODS),
            message=f"Waiting for pod {first.name}: {said}",
        )


def assemble(job: TrainingJob, stored_attempt: int, pods: Iterable[Pod]) -> Gang:
    """The gang of a job, from whatever pods carry its name.

    Pods of an earlier object of the same name are not its own. A pod of a later attempt than the stored one
    shows that the stored status lags behind: attempts only grow.
    """
    own = sorted((pod for pod in pods if pod.job_uid == job.uid), key=lambda pod: (pod.attempt, pod.index))
    attempt = max([stored_attempt, *(pod.attempt for pod in own)])
    size = job.spec.num_nodes
    return Gang(
        size=size,
        scheme="https" if job.spec.metrics_tls_secret else "http",
        attempt=attempt,
        current={pod.index: pod for pod in own if pod.attempt == attempt and pod.index < size},
        older=[pod for pod in own if pod.attempt < attempt],
    )


def latest_progress(gang: Gang, polled: Progress | None) -> Progress | None:
    """The newest document: of the latest attempt whose rank 0 has spoken, by a poll or as its last words."""
    sources = [gang.finisher] if gang.finisher else [pod for pod in gang.pods if pod.index == 0]
    attempts = {pod.attempt for pod in sources} | {gang.attempt}
    documents = [document for document in (*map(last_words, sources), polled) if document]
    return max(
        (document for document in documents if document.attempt in attempts),
        key=lambda document: (document.attempt, document.last_updated_time),
        default=None,
    )
