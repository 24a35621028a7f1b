"""A fake kubelet: it says what the test wants of pods that nobody runs. No container is started."""

import json
from datetime import UTC, datetime
from typing import Any

from tests.apiserver.api import Api, ApiError, Object

NODE = "fake-node"


class FakeKubelet:
    """Binds pods to a node that does not exist and reports their state."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def run(self, pod: str, ip: str = "127.0.0.2") -> None:
        """The pod is scheduled, its container runs, it is ready."""
        self._bind(pod)
        self._report(
            pod,
            phase="Running",
            podIP=ip,
            podIPs=[{"ip": ip}],
            conditions=[{"type": "Ready", "status": "True", "lastTransitionTime": _now()}],
            containerStatuses=[_container(running={"startedAt": _now()}, ready=True)],
        )

    def fail_to_mount(self, pod: str, message: str) -> None:
        """The pod is scheduled; a volume of it cannot be mounted, of which only an event tells."""
        self._bind(pod)
        condition = {"type": "PodReadyToStartContainers", "status": "False", "lastTransitionTime": _now()}
        self._report(pod, phase="Pending", conditions=[condition])
        about = {"kind": "Pod", "name": pod, "uid": self._api.get("pods", pod)["metadata"]["uid"]}
        self._api.create(
            "events",
            {
                "metadata": {"name": f"{pod}.mount"},
                "involvedObject": about | {"namespace": self._api.namespace},
                "type": "Warning",
                "reason": "FailedMount",
                "message": message,
                "lastTimestamp": _now(),
            },
        )

    def unready(self, pod: str) -> None:
        """The pod's container runs and does not answer its readiness probe."""
        reason = {"reason": "ContainersNotReady", "lastTransitionTime": _now()}
        self._report(
            pod,
            conditions=[{"type": "Ready", "status": "False", **reason}],
            containerStatuses=[_container(running={"startedAt": _now()})],
        )

    def end(self, pod: str, exit_code: int, document: Object | None = None) -> None:
        """The pod's container ended and left a document as its termination message."""
        ended = {
            "exitCode": exit_code,
            "reason": "Completed" if exit_code == 0 else "Error",
            "message": "" if document is None else json.dumps(document),
            "finishedAt": _now(),
        }
        self._report(
            pod,
            phase="Succeeded" if exit_code == 0 else "Failed",
            conditions=[{"type": "Ready", "status": "False", "lastTransitionTime": _now()}],
            containerStatuses=[_container(terminated=ended)],
        )

    def reject(self, pod: str, reason: str, message: str) -> None:
        """The pod is scheduled; its node does not take it."""
        self._bind(pod)
        self._report(pod, phase="Failed", reason=reason, message=message)

    def finish_deletions(self) -> list[str]:
        """Let go of the pods that were asked to stop; returns their names."""
        stopping = [
            str(pod["metadata"]["name"])
            for pod in self._api.list("pods")
            if "deletionTimestamp" in pod["metadata"]
        ]
        for pod in stopping:
            self._let_go(pod)
        return stopping

    def _let_go(self, pod: str) -> None:
        """As kubelets do, for whom a pod that the garbage collector has taken meanwhile is let go as well."""
        try:
            self._api.delete("pods", pod, gracePeriodSeconds=0)
        except ApiError as error:
            if error.code != 404:
                raise

    def _bind(self, pod: str) -> None:
        if "nodeName" in self._api.get("pods", pod)["spec"]:
            return
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        path = self._api.path("pods", pod, "binding")
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": target}
        self._api.request("POST", path, binding)

    def _report(self, pod: str, **status: Any) -> None:
        self._api.merge("pods", pod, {"status": status}, "status")


def _container(ready: bool = False, **state: Object) -> Object:
    return {
        "name": "trainer",
        "image": "",
        "imageID": "",
        "ready": ready,
        "started": ready,
        "restartCount": 0,
        "state": state,
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
