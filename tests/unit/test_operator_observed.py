"""Raw pods become the few facts on which decisions rest."""

from __future__ import annotations

from typing import Any

import pytest

from detectron_operator.observed import observe_pod
from tests.unit.operator_objects import after, pod, raw_pod


def test_a_running_pod() -> None:
    seen = pod(3, 1)
    assert (seen.name, seen.uid, seen.job, seen.job_uid) == ("train-3-1", "uid-1-3-1", "train", "uid-1")
    assert (seen.attempt, seen.index, seen.phase, seen.ready, seen.alive) == (3, 1, "Running", True, True)
    assert (seen.node, seen.ip, seen.deleting, seen.reason) == ("worker-1", "10.0.0.2", False, None)


def test_a_pod_that_was_only_just_created() -> None:
    raw = raw_pod()
    raw["status"] = {}
    raw["spec"] = {}
    seen = observe_pod(raw)
    assert seen is not None
    assert (seen.phase, seen.ready, seen.node, seen.ip) == ("Pending", False, "", None)


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        (
            {
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/2 nodes are available: 2 Insufficient nvidia.com/gpu.",
                    }
                ]
            },
            "Unschedulable",
            "0/2 nodes are available: 2 Insufficient nvidia.com/gpu.",
        ),
        ({"waiting": {"reason": "ContainerCreating"}}, None, None),
        (
            {"waiting": {"reason": "CreateContainerConfigError", "message": "no such key"}},
            "CreateContainerConfigError",
            "no such key",
        ),
        ({"reason": "Evicted", "message": "low on disk"}, "Evicted", "low on disk"),
        ({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, "OOMKilled", None),
    ],
)
def test_the_words_of_scheduler_and_kubelet(
    status: dict[str, Any], reason: str | None, message: str | None
) -> None:
    seen = pod(phase="Pending", **status)
    assert (seen.reason, seen.message) == (reason, message)


def test_an_image_that_cannot_be_pulled_always_reads_the_same() -> None:
    pulling = pod(phase="Pending", waiting={"reason": "ErrImagePull", "message": "x:1: not found"})
    waiting = pod(
        phase="Pending",
        waiting={
            "reason": "ImagePullBackOff",
            "message": 'Back-off pulling image "x:1": ErrImagePull: x:1: not found',
        },
    )
    assert (pulling.reason, pulling.message) == (waiting.reason, waiting.message)
    assert pulling.message == "x:1: not found"


@pytest.mark.parametrize(
    ("status", "disruption"),
    [
        ({}, None),
        ({"type": "DisruptionTarget", "status": "False", "reason": "EvictionByEvictionAPI"}, None),
        (
            {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"},
            "EvictionByEvictionAPI",
        ),
        ({"type": "DisruptionTarget", "status": "True"}, "DisruptionTarget"),
    ],
)
def test_who_took_it_away(status: dict[str, Any], disruption: str | None) -> None:
    assert pod(phase="Failed", conditions=[status]).disruption == disruption


def test_an_eviction_for_overuse_is_no_disruption() -> None:
    target = [{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}]
    assert pod(phase="Failed", reason="Evicted", conditions=target).disruption is None


def _without_owner(raw: dict[str, Any]) -> None:
    del raw["metadata"]["ownerReferences"]


def _other_owner(raw: dict[str, Any]) -> None:
    raw["metadata"]["ownerReferences"][0]["kind"] = "Job"


def _no_controller(raw: dict[str, Any]) -> None:
    raw["metadata"]["ownerReferences"][0]["controller"] = False


def _not_ours(raw: dict[str, Any]) -> None:
    raw["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "helm"


def _no_attempt(raw: dict[str, Any]) -> None:
    del raw["metadata"]["labels"]["detectron.dev/attempt"]


def _odd_attempt(raw: dict[str, Any]) -> None:
    raw["metadata"]["labels"]["detectron.dev/attempt"] = "-1"


def _huge_attempt(raw: dict[str, Any]) -> None:
    raw["metadata"]["labels"]["detectron.dev/attempt"] = "9" * 40


@pytest.mark.parametrize(
    "spoil",
    [_without_owner, _other_owner, _no_controller, _not_ours, _no_attempt, _odd_attempt, _huge_attempt],
)
def test_foreign_pods(spoil: Any) -> None:
    raw = raw_pod()
    spoil(raw)
    assert observe_pod(raw) is None


@pytest.mark.parametrize(
    ("ready", "containers", "unreachable"),
    [
        pytest.param({"status": "False"}, "True", True, id="made so by the node lifecycle controller"),
        pytest.param(
            {"status": "False", "reason": "ContainersNotReady"}, "False", False, id="by the kubelet"
        ),
        pytest.param({"status": "False", "reason": "ReadinessGatesNotReady"}, "True", False, id="by a gate"),
        pytest.param({"status": "True"}, "True", False, id="ready"),
    ],
)
def test_a_pod_whose_node_is_silent(ready: dict[str, str], containers: str, unreachable: bool) -> None:
    since = "2026-03-01T12:00:07Z"
    conditions = [
        {"type": "Ready", "lastTransitionTime": since, **ready},
        {"type": "ContainersReady", "status": containers},
    ]
    assert pod(conditions=conditions).unreachable_since == (after(7) if unreachable else None)


@pytest.mark.parametrize(
    ("reason", "deleting", "unreachable"),
    [
        pytest.param("DeletionByTaintManager", True, True, id="evicted for a taint"),
        pytest.param("DeletionByTaintManager", False, False, id="about to be"),
        pytest.param("EvictionByEvictionAPI", True, False, id="evicted otherwise"),
    ],
)
def test_a_pod_that_was_not_ready_when_its_node_fell_silent(
    reason: str, deleting: bool, unreachable: bool
) -> None:
    conditions = [
        {
            "type": "Ready",
            "status": "False",
            "reason": "ContainersNotReady",
            "lastTransitionTime": "2026-03-01T12:00:07Z",
        },
        {"type": "ContainersReady", "status": "False"},
        {"type": "DisruptionTarget", "status": "True", "reason": reason},
    ]
    seen = pod(conditions=conditions, deleting=deleting)
    assert seen.unreachable_since == (after(7) if unreachable else None)
