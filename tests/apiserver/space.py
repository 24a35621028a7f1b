"""A namespace of its own for a test, and what a test does there."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tests.apiserver.api import Api, Object
from tests.apiserver.audit import AuditLog
from tests.apiserver.fake_kubelet import FakeKubelet
from tests.apiserver.manifest_cases import GOOD
from tests.cluster.kubectl import Kubectl
from tests.cluster.waiting import wait_until

T = TypeVar("T")


@dataclass
class Space:
    """A namespace with a fake kubelet."""

    api: Api
    kubectl: Kubectl
    kubelet: FakeKubelet
    audit: AuditLog

    def submit(self, name: str = "job", nodes: int = 2, **run_policy: object) -> Object:
        """Create a job."""
        return self.submit_with({"numNodes": nodes, "runPolicy": run_policy}, name)

    def submit_with(self, spec: Object, name: str = "job") -> Object:
        """Create a job of two nodes with further fields in its spec."""
        manifest = copy.deepcopy(GOOD)
        manifest["metadata"] = {"name": name, "namespace": self.api.namespace}
        manifest["spec"] |= {"numNodes": 2, **spec}
        return self.api.create("detectrontrainingjobs", manifest)

    def job(self, name: str = "job") -> Object:
        """The job as it is now."""
        return self.api.get("detectrontrainingjobs", name)

    def status(self, name: str = "job") -> Object:
        """The job's status; empty before the first write."""
        status: Object = self.job(name).get("status", {})
        return status

    def suspend(self, suspend: bool, name: str = "job") -> None:
        """Set or unset runPolicy.suspend."""
        self.api.merge("detectrontrainingjobs", name, {"spec": {"runPolicy": {"suspend": suspend}}})

    def await_status(self, name: str = "job", timeout: float = 20, **expected: object) -> Object:
        """Wait until the status has these values; returns it."""

        def reached() -> Object | None:
            status = self.status(name)
            return status if all(status.get(field) == value for field, value in expected.items()) else None

        return self.wait(reached, f"the status of {name} to have {expected}", timeout)

    def await_pods(self, *names: str, timeout: float = 20) -> None:
        """Wait until exactly these pods exist."""

        def there() -> bool:
            return self.pods() == sorted(names)

        self.wait(there, f"the pods to be {sorted(names)}", timeout)

    def run(self, *pods: str) -> None:
        """Have the fake kubelet run just these pods, once they exist, and wait until their job says so."""
        self.await_pods(*pods)
        for pod in pods:
            self.kubelet.run(pod)
        self.await_status(phase="Running")

    def pods(self) -> list[str]:
        """The names of all pods."""
        return [str(pod["metadata"]["name"]) for pod in self.api.list("pods")]

    def await_stopping(self, count: int) -> list[Object]:
        """Wait until so many pods are told to stop; returns them."""

        def told() -> list[Object] | None:
            found = [pod for pod in self.api.list("pods") if "deletionTimestamp" in pod["metadata"]]
            return found if len(found) == count else None

        return self.wait(told, f"{count} pods to be told to stop")

    def children(self) -> list[str]:
        """Kind and name of everything in the namespace that has an owner."""
        return [
            f"{kind}/{item['metadata']['name']}"
            for kind in ("pods", "services", "configmaps")
            for item in self.api.list(kind)
            if item["metadata"].get("ownerReferences")
        ]

    def await_collection(self) -> None:
        """Wait until the garbage collector has removed every child; it sees new kinds only each 30 s."""

        def gone() -> bool:
            self.kubelet.finish_deletions()
            return not self.children()

        self.wait(gone, "everything to be gone", timeout=90)

    def events(self) -> list[str]:
        """The reasons of the operator's events, in order."""
        kind = GOOD["kind"]
        events = [event for event in self.api.list("events") if event["involvedObject"]["kind"] == kind]
        events.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
        return [str(event["reason"]) for event in events]

    def wait(self, condition: Callable[[], T | None], what: str, timeout: float = 20) -> T:
        """Wait until the condition's answer is true; returns it."""
        answer = wait_until(condition, timeout, what, interval=0.05)
        assert answer is not None
        return answer
