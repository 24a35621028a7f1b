"""Jobs, pods and progress documents for the tests of the operator's pure core."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from detectron_operator.api import TrainingJob, parse
from detectron_operator.observed import Pod, observe_pod
from detectron_operator.plan import Defaults

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
DEFAULTS = Defaults(trainer_image="registry.example/trainer:1", progress_period=5.0)

RawObject = dict[str, Any]


def after(seconds: float) -> datetime:
    """The test's clock, so long after its start."""
    return START + timedelta(seconds=seconds)


def spec(**fields: object) -> RawObject:
    """A spec as the API server stores it, with its defaults; None leaves a field out."""
    whole: RawObject = {
        "imagePullPolicy": "IfNotPresent",
        "numNodes": 2,
        "elasticPolicy": {"maxRestarts": 3},
        "config": {"base": "COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml"},
        "datasets": [{"name": "d", "split": "train", "annotations": "/data/a.json", "images": "/data/i"}],
        "output": {"claimName": "runs"},
        "checkpoint": {"keep": 3, "gracePeriodSeconds": 120},
        "metrics": {"period": 20},
        "preflight": {"timeoutSeconds": 1800, "resources": {"limits": {"memory": "4Gi"}}},
        "runPolicy": suspended(False),
    }
    whole.update(fields)
    return {name: value for name, value in whole.items() if value is not None}


def raw_job(
    *, name: str = "train", uid: str = "uid-1", generation: int = 1, status: object = None, **fields: object
) -> RawObject:
    """A stored object."""
    raw: RawObject = {
        "apiVersion": "detectron.dev/v1alpha1",
        "kind": "DetectronTrainingJob",
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": uid,
            "generation": generation,
            "creationTimestamp": "2026-03-01T12:00:00Z",
        },
        "spec": spec(**fields),
    }
    return raw | ({} if status is None else {"status": status})


def job(**fields: Any) -> TrainingJob:
    """A parsed job."""
    return parse(raw_job(**fields))


def suspended(value: bool, *, backoff_limit: int = 3) -> RawObject:
    """A runPolicy."""
    return {
        "suspend": value,
        "backoffLimit": backoff_limit,
        "maxBackoffSeconds": 300,
        "cleanPodPolicy": "Running",
    }


def scheduled(policy: object) -> RawObject:
    """A runPolicy whose gang some scheduler takes as a whole, or none."""
    return suspended(False) | ({} if policy is None else {"schedulingPolicy": policy})


def raw_pod(
    attempt: int = 0,
    index: int = 0,
    phase: str = "Running",
    *,
    name: str = "train",
    uid: str = "uid-1",
    created: float = 0.0,
    deleting: bool = False,
    terminated: Mapping[str, object] | None = None,
    waiting: Mapping[str, object] | None = None,
    **status: object,
) -> RawObject:
    """A pod as the API server shows it, `created` so many seconds after the start."""
    state = {"terminated": terminated} if terminated else {"waiting": waiting} if waiting else {}
    metadata: RawObject = {
        "name": f"{name}-{attempt}-{index}",
        "namespace": "team",
        "uid": f"{uid}-{attempt}-{index}",
        "creationTimestamp": after(created).isoformat(),
        "labels": {
            "app.kubernetes.io/managed-by": "detectron-operator",
            "detectron.dev/job": name,
            "detectron.dev/attempt": str(attempt),
            "detectron.dev/node-index": str(index),
        },
        "ownerReferences": [
            {
                "apiVersion": "detectron.dev/v1alpha1",
                "kind": "DetectronTrainingJob",
                "name": name,
                "uid": uid,
                "controller": True,
            }
        ],
    }
    if deleting:
        metadata |= {"deletionTimestamp": "2026-03-01T12:05:00Z", "deletionGracePeriodSeconds": 120}
    running = {"podIP": f"10.0.0.{index + 1}"} if phase == "Running" else {}
    ready = [{"type": "Ready", "status": "True" if phase == "Running" else "False"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": f"worker-{index}"},
        "status": {
            "phase": phase,
            "conditions": ready,
            "containerStatuses": [{"name": "trainer", "state": state}],
            **running,
            **status,
        },
    }


def unreachable(since: float) -> list[RawObject]:
    """The conditions of a pod that ran when the cluster heard its node for the last time."""
    moment = after(since).isoformat()
    return [
        {"type": "Ready", "status": "False", "lastTransitionTime": moment},
        {"type": "ContainersReady", "status": "True"},
    ]


def check_pod(phase: str = "Running", **fields: Any) -> Pod:
    """The observed pod that checks the job."""
    raw = raw_pod(0, 0, phase, **fields)
    raw["metadata"] |= {"name": "train-preflight", "uid": "uid-check"}
    tags = raw["metadata"]["labels"]
    del tags["detectron.dev/attempt"], tags["detectron.dev/node-index"]
    tags["detectron.dev/role"] = "preflight"
    observed = observe_pod(raw)
    assert observed is not None
    return observed


def pod(attempt: int = 0, index: int = 0, phase: str = "Running", **fields: Any) -> Pod:
    """An observed pod."""
    observed = observe_pod(raw_pod(attempt, index, phase, **fields))
    assert observed is not None
    return observed


def gang(attempt: int = 0, phase: str = "Running", *, size: int = 2) -> list[Pod]:
    """All pods of an attempt."""
    return [pod(attempt, index, phase) for index in range(size)]


def gated(attempt: int = 0, *, replacement: int = 0) -> list[Pod]:
    """A gang that a queue holds back."""
    gate = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
    pods = [pod(attempt, index, "Pending", conditions=[gate]) for index in range(2)]
    return [replace(pod, node="", replacement=replacement) for pod in pods]


def document(attempt: int = 0, iteration: int = 100, *, at: float = 0.0, **fields: object) -> RawObject:
    """A progress document, spoken so many seconds after the start."""
    return {
        "version": 1,
        "phase": "Training",
        "attempt": attempt,
        "worldSize": 2,
        "iteration": iteration,
        "maxIterations": 1000,
        "estimatedRemainingSeconds": 3900,
        "metrics": [{"name": "total_loss", "value": 1.23456789}, {"name": "lr", "value": 2.5e-05}],
        "lastUpdatedTime": after(at).isoformat(),
        **fields,
    }


def work(
    process: int = 0, *, trained: int, idle: float = 0.0, training: float | None = None, **fields: float
) -> RawObject:
    """What a process of rank 0, known by its number, has done; a second an iteration by default."""
    return {
        "startTime": after(process).isoformat(),
        "trainedIterations": trained,
        "idleSeconds": idle,
        "startingSeconds": 0,
        "trainingSeconds": trained if training is None else training,
        "evaluatingSeconds": 0,
        "checkpointingSeconds": 0,
        **fields,
    }


def verdict(reason: str, *, retryable: bool, message: str = "words", **fields: object) -> RawObject:
    """The verdict of a progress document."""
    return {"reason": reason, "message": message, "retryable": retryable, **fields}


def failed(
    index: int = 0,
    *,
    attempt: int = 0,
    reason: str | None = None,
    retryable: bool = True,
    message: str = "words",
    **fields: Any,
) -> Pod:
    """A pod that ended with exit code 1, with a verdict or without one."""
    terminated: RawObject = {"exitCode": 1, "reason": "Error"}
    if reason is not None:
        left = verdict(reason, retryable=retryable, message=message, rank=index, iteration=7)
        terminated["message"] = json.dumps(document(attempt, 7, verdict=left))
    return pod(attempt, index, "Failed", terminated=terminated, **fields)


def succeeded(index: int = 0, *, attempt: int = 0, **fields: Any) -> Pod:
    """A pod that ended with exit code 0; its last words say that all is done."""
    left = document(attempt, 1000, phase="Finished", verdict=verdict("Completed", retryable=False), **fields)
    terminated = {"exitCode": 0, "reason": "Completed", "message": json.dumps(left)}
    return pod(attempt, index, "Succeeded", terminated=terminated)
