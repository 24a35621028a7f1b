"""What secrets hold, and what a job says in plain words in its environment, the operator tells nobody."""

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from tests.apiserver.conftest import StartOperator
from tests.apiserver.fake_trainer import DONE, progress
from tests.apiserver.operator_process import Operator
from tests.apiserver.space import Space

PLAIN = "plainly-said-4f1c"
HELD = {
    "hub": "token-9d27",
    "s3": "password-c03e",
    "metrics": "private-key-71aa",
    "pull": "registry-login-b58d",
}
"""A word in each Secret, by the Secret's name."""
SPEC: dict[str, Any] = {
    "image": "registry.example/trainer:1",
    "imagePullSecrets": ["pull"],
    "env": [
        {"name": "PLAIN", "value": PLAIN},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "word"}}},
    ],
    "envFrom": [{"secretRef": {"name": "s3"}}],
    "metrics": {"tls": {"secretName": "metrics"}},
}
INVALID = {"numProcPerNode": 2, "resourcesPerNode": {"limits": {"nvidia.com/gpu": 4}}}


def test_no_secret_leaves_its_place(space: Space, start_operator: StartOperator) -> None:
    operator = start_operator(log_format="json")
    for name, word in HELD.items():
        space.api.create("secrets", {"metadata": {"name": name}, "stringData": {"word": word}})
    _fail_and_succeed(space)
    space.submit_with(SPEC | INVALID, "invalid")
    space.await_status("invalid", phase="Failed")
    space.submit_with(SPEC | {"runPolicy": {"schedulingPolicy": {"volcano": {}}}}, "refused")
    space.wait(lambda: "PodGroup refused" in space.status("refused").get("message", ""), "the refusal")
    space.wait(lambda: "InvalidSpec" in space.events(), "the last event")

    pods = json.dumps(space.api.list("pods"))
    assert PLAIN in pods
    assert all(f'"name": "{name}"' in pods or f'"secretName": "{name}"' in pods for name in HELD)
    told = _told(space, operator)
    children = {plural: json.dumps(space.api.list(plural)) for plural in ("configmaps", "services", "pods")}
    assert all('"job"' in text for text in told.values()), "each of the places tells of the job"
    assert _leaks(told | children, HELD.values()) == []
    assert _leaks(told, [PLAIN]) == []


def _fail_and_succeed(space: Space) -> None:
    space.submit_with(SPEC)
    for attempt in range(2):
        pods = [f"job-{attempt}-{index}" for index in range(2)]
        space.await_pods(*pods, *(pod for pod in space.pods() if pod not in pods))
        for pod in pods:
            space.kubelet.run(pod)
        space.await_status(phase="Running", attempt=attempt)
        if attempt == 0:
            for pod in pods:
                space.kubelet.end(pod, 1)
    space.kubelet.end("job-1-1", 0)
    space.kubelet.end("job-1-0", 0, progress(100, attempt=1, phase="Finished", verdict=DONE))
    space.await_status(phase="Succeeded", iteration=100)


def _told(space: Space, operator: Operator) -> dict[str, str]:
    """All that the operator tells of jobs, by where."""
    statuses = {job["metadata"]["name"]: job["status"] for job in space.api.list("detectrontrainingjobs")}
    return {
        "status": json.dumps(statuses),
        "events": json.dumps(space.api.list("events")),
        "log": operator.log,
        "metrics": operator.metrics(),
    }


def _leaks(texts: Mapping[str, str], words: Iterable[str]) -> list[str]:
    """Places in which a word stands, as it is or as Secrets are written."""
    forms = [form for word in words for form in (word, base64.b64encode(word.encode()).decode())]
    return [f"{form} in {place}" for place, text in texts.items() for form in forms if form in text]
