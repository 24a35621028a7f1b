"""The pods of a job, sorted into the current attempt and those before it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from detectron_operator import reasons
from detectron_operator.api import TrainingJob
from detectron_operator.ending import last_words
from detectron_operator.history import History
from detectron_operator.observed import Pod
from detectron_operator.progress import Progress
from detectron_operator.status import Words

NO_REPLICAS = {"active": 0, "ready": 0, "succeeded": 0, "failed": 0}
"""`.status.replicaStatuses` of an attempt that is yet to start."""


@dataclass(frozen=True, kw_only=True)
class Gang:
    """One attempt's pods by node index, those that they replace or that are too many, and earlier attempts'.

    `size` is how many pods there are to be, `least` how many can train. `scheme` is that of their metrics.
    """

    size: int
    least: int
    scheme: Literal["http", "https"]
    attempt: int
    current: Mapping[int, Pod]
    former: Sequence[Pod]
    older: Sequence[Pod]

    @property
    def in_words(self) -> str:
        """The size for people."""
        return "1 pod" if self.size == 1 else f"{self.size} pods"

    @property
    def strength(self) -> str:
        """How many of its pods run, for people."""
        running = sum(pod.phase == "Running" for pod in self.current.values())
        short = self.least < self.size and running < self.size
        return f"{running} of {self.in_words}" if short else self.in_words

    @property
    def pods(self) -> list[Pod]:
        """Every pod, the current attempt's first."""
        return [*self.current.values(), *self.former, *self.older]

    @property
    def alive(self) -> list[Pod]:
        """Pods of any attempt whose processes may still run."""
        return [pod for pod in self.pods if pod.alive]

    @property
    def missing(self) -> list[int]:
        """Node indexes of the current attempt whose pod is to be created: never two at one index.

        Where not all of them are needed, node 0's comes first: the others might take its place on the nodes,
        and hold what they cannot train with.
        """
        held = {pod.index for pod in self.former if pod.alive}
        first = self.current.get(0)
        alone = self.least < self.size and not (first is not None and first.node)
        wanted = range(1 if alone else self.size)
        return [index for index in wanted if index not in self.current and index not in held]

    @property
    def whole(self) -> bool:
        """Whether each node index has its pod once those that are missing are created."""
        return len(self.current) + len(self.missing) == self.size

    @property
    def leaving(self) -> list[Pod]:
        """Pods of the attempt that are still alive and no longer wanted."""
        return [pod for pod in self.former if pod.alive]

    @property
    def finisher(self) -> Pod | None:
        """Node 0's pod that ended with exit code 0: training is complete, whatever became of the others."""
        return next((pod for pod in self.pods if pod.index == 0 and pod.phase == "Succeeded"), None)

    @property
    def running(self) -> bool:
        """Whether enough pods of the attempt, node 0's among them, have come to run."""
        up = {index for index, pod in self.current.items() if pod.phase in ("Running", "Succeeded")}
        return 0 in up and len(up) >= self.least

    @property
    def poll(self) -> str | None:
        """Where rank 0 serves its progress document: a URL up to the port."""
        first = self.current.get(0)
        if first is None or first.phase != "Running" or first.ip is None:
            return None
        return f"{self.scheme}://[{first.ip}]" if ":" in first.ip else f"{self.scheme}://{first.ip}"

    def replicas(self, *, created: int = 0) -> dict[str, int]:
        """`.status.replicaStatuses`, with pods that this very plan creates among the active ones."""
        found = replica_statuses(self.current.values())
        return found | {"active": found["active"] + created}

    @property
    def waited_for(self) -> Pod | None:
        """The first pod that does not run yet, of those that are said to be stuck where there are any."""
        members = (pod for _, pod in sorted(self.current.items()))
        late = [pod for pod in members if pod.alive and pod.phase != "Running"]
        return next((pod for pod in late if pod.reason), late[0] if late else None)

    def waiting(self) -> Words:
        """What the gang waits for, in the scheduler's or kubelet's own words where a pod is stuck."""
        first = self.waited_for
        if first is None or not first.reason:
            return Words(reason=reasons.WAITING_FOR_PODS, message=f"Waiting for {self.in_words} to run")
        return stuck(first)


def replica_statuses(pods: Collection[Pod]) -> dict[str, int]:
    """The pods of an attempt, as `.status.replicaStatuses` counts them."""
    return {
        "active": sum(pod.alive for pod in pods),
        "ready": sum(pod.alive and pod.ready for pod in pods),
        "succeeded": sum(pod.phase == "Succeeded" for pod in pods),
        "failed": sum(pod.phase == "Failed" for pod in pods),
    }


def stuck(pod: Pod) -> Words:
    """What a pod waits for, in the words of whoever keeps it waiting."""
    reason = pod.reason or reasons.WAITING_FOR_PODS
    said = f"{reason}: {pod.message}" if pod.message else reason
    return Words(
        reason=reasons.word(reason, otherwise=reasons.WAITING_FOR_PODS),
        message=f"Waiting for pod {pod.name}: {said}",
    )


def assemble(job: TrainingJob, history: History, pods: Iterable[Pod]) -> Gang:
    """The gang of a job, from whatever pods carry its name.

    Pods of an earlier object of the same name are not its own. A pod of a later attempt than the stored one
    shows that the stored status lags behind: attempts only grow, and so do replacements.
    """
    own = sorted(
        (pod for pod in pods if pod.job_uid == job.uid and not pod.preflight),
        key=lambda pod: (pod.attempt, pod.index),
    )
    attempt = max([history.attempt, *(pod.attempt for pod in own)])
    size = job.spec.num_nodes
    expected = dict(history.in_attempt(attempt).replacements)
    for pod in own:
        if pod.attempt == attempt:
            expected[pod.index] = max(expected.get(pod.index, 0), pod.replacement)
    members = [pod for pod in own if pod.attempt == attempt]
    current = {
        pod.index: pod for pod in members if pod.index < size and pod.replacement == expected[pod.index]
    }
    return Gang(
        size=size,
        scheme="https" if job.spec.metrics_tls_secret else "http",
        least=min(job.spec.elastic_policy.min_nodes, size),
        attempt=attempt,
        current=current,
        former=[pod for pod in members if current.get(pod.index) != pod],
        older=[pod for pod in own if pod.attempt < attempt],
    )


def latest_progress(gang: Gang, polled: Progress | None, known: int) -> Progress | None:
    """The newest document: of the latest attempt whose rank 0 has spoken, by a poll or as its last words.

    Args:
        known: the latest attempt of which the status has numbers; they outlive a document that is gone.
    """
    sources = [gang.finisher] if gang.finisher else [pod for pod in gang.pods if pod.index == 0]
    attempts = {pod.attempt for pod in sources} | {gang.attempt}
    documents = [document for document in (*map(last_words, sources), polled) if document]
    return max(
        (document for document in documents if document.attempt in attempts and document.attempt >= known),
        key=lambda document: (document.attempt, document.last_updated_time),
        default=None,
    )
