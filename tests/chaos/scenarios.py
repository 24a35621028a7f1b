"""Every scenario that needs real nodes; docs/faults.md says which tests hold the others."""

from __future__ import annotations

import functools
import signal
import time
from collections.abc import Callable
from typing import TypedDict

from tests.chaos import faults
from tests.chaos.scenario import DELETED, Scenario
from tests.chaos.trial import CHECKPOINT_PERIOD, MINUTES, STRIKE_AT, Trial
from tests.cluster import network
from tests.cluster.images import TRAINER_IMAGE
from tests.cluster.local import LocalCluster

PROCESS, POD, GANG = 20.0, 30.0, 45.0
"""Seconds in which training is to go on after the death of a process, of a pod, of a gang."""
NODE_GRACE = 20.0
"""The test cluster's node-monitor-grace-period."""
HANG = 30.0 + 2 * 1.0
"""Seconds in which a hang is to be noticed: 30, and twice the p99 of an iteration, here less than 1."""
AWAY = 30.0
"""Seconds for which the API server is away."""
_MISSING_IMAGE = "localhost/detectron-trainer:not-yet"
_FORCE = ("--grace-period=0", "--force")


class Job(TypedDict):
    """The parts of a scenario that are its job's."""

    overrides: tuple[str, ...]
    env: dict[str, str]
    spec: dict[str, object]


def _training(strike: Callable[[Trial], object]) -> Callable[[Trial], None]:
    """Strike in the middle of the training."""

    def act(trial: Trial) -> None:
        trial.train()
        strike(trial)

    return act


def _worker(rank: int, number: signal.Signals) -> Callable[[Trial], None]:
    return _training(functools.partial(faults.signal_worker, rank=rank, number=number))


def _delete(index: int, *options: str) -> Callable[[Trial], None]:
    return _training(lambda trial: faults.delete_pod(trial, index, *options))


def _cut_network(trial: Trial) -> None:
    faults.cut_network(trial)
    faults.wait_restart(trial, 3 * MINUTES)
    network.heal()


def _fill_output(trial: Trial) -> None:
    """A full volume fails the job; once there is room, the same job applied anew goes on."""
    filler = faults.fill_output(trial)
    faults.wait_phase(trial, "Failed", MINUTES)
    filler.unlink()
    trial.job.delete()
    trial.repaired()
    trial.job.apply()


def _image_appears(trial: Trial) -> None:
    trial.strike()
    trial.job.wait(lambda status: "ErrImagePull" in status.get("message", ""), MINUTES, "the kubelet's words")
    faults.tag_image(trial, TRAINER_IMAGE, _MISSING_IMAGE)
    trial.repaired()


def _suspend(trial: Trial) -> None:
    trial.strike()
    trial.job.suspend(True)
    trial.job.wait_phase("Suspended", 2 * MINUTES)
    trial.repaired()
    trial.job.suspend(False)


def _operator_and_worker(trial: Trial) -> None:
    trial.release.kill()
    faults.signal_worker(trial, 1, signal.SIGKILL)


def _without_api_server(trial: Trial) -> None:
    plane = LocalCluster().plane
    trial.undo.callback(plane.start)
    trial.strike()
    plane.apiserver.kill()
    time.sleep(AWAY)  # it is the time away that is tested
    plane.start()


def _restart_etcd(trial: Trial) -> None:
    plane = LocalCluster().plane
    trial.undo.callback(plane.start)
    trial.strike()
    plane.etcd.kill()
    plane.start()


def _delete_job(trial: Trial) -> None:
    trial.strike()
    trial.kubectl("delete", "dtj", trial.job.name, "--wait=false")


def _delete_while_starting(trial: Trial) -> None:
    trial.job.wait(lambda status: bool(status), MINUTES, "a status")
    _delete_job(trial)


def _delete_while_restarting(trial: Trial) -> None:
    faults.delete_pod(trial, 1)
    trial.job.wait_phase("Restarting", MINUTES)
    _delete_job(trial)


def _itself(trial: Trial) -> None:
    """The fault is in the job."""
    trial.strike()


def _failing(kind: str, **spec: object) -> Job:
    """The parts of a job whose model fails so in the middle of the training."""
    return {
        "overrides": ("MODEL.META_ARCHITECTURE FaultyRCNN",),
        "env": {"FAULT": f"{kind}@{STRIKE_AT}"},
        "spec": {"plugins": ["faulty_model"], **spec},
    }


SCENARIOS = (
    Scenario(
        name="worker-killed",
        fault="SIGKILL of a worker (rank 1)",
        act=_worker(1, signal.SIGKILL),
        cause=None,
        within=PROCESS,
    ),
    Scenario(
        name="rank-0-killed",
        fault="SIGKILL of rank 0",
        act=_worker(0, signal.SIGKILL),
        cause=None,
        repeats=CHECKPOINT_PERIOD,
        within=PROCESS,
    ),
    Scenario(
        name="worker-hangs",
        fault="a worker hangs (SIGSTOP of rank 1)",
        act=_worker(1, signal.SIGSTOP),
        cause="ProgressDeadlineExceeded",
        repeats=CHECKPOINT_PERIOD,
        notice_within=HANG,
    ),
    Scenario(
        name="pod-deleted",
        fault="`kubectl delete pod` of node-001",
        act=_delete(1),
        cause="PodDeleted",
        within=GANG,
    ),
    Scenario(
        name="pod-0-deleted",
        fault="`kubectl delete pod` of node-000",
        act=_delete(0),
        cause="PodDeleted",
        within=GANG,
    ),
    Scenario(
        name="pod-killed",
        fault="node-001 deleted by force, without grace",
        act=_delete(1, *_FORCE),
        cause="PodDeleted",
        within=POD,
    ),
    Scenario(
        name="pod-0-killed",
        fault="node-000 deleted by force, without grace",
        act=_delete(0, *_FORCE),
        cause="PodDeleted",
        repeats=CHECKPOINT_PERIOD,
        within=GANG,
    ),
    Scenario(
        name="pod-evicted",
        fault="eviction through the API",
        act=_training(functools.partial(faults.evict_pod, index=1)),
        cause="PodDisrupted",
        within=GANG,
    ),
    Scenario(
        name="node-drained",
        fault="drain of the node of node-000",
        act=_training(functools.partial(faults.drain_node, index=0)),
        cause="PodDisrupted",
        within=GANG,
    ),
    Scenario(
        name="node-lost",
        fault="loss of the node of node-001",
        act=_training(functools.partial(faults.lose_node, index=1)),
        cause="NodeLost",
        within=NODE_GRACE + GANG,
    ),
    Scenario(
        name="node-0-lost",
        fault="loss of the node of node-000",
        act=_training(functools.partial(faults.lose_node, index=0)),
        cause="NodeLost",
        repeats=CHECKPOINT_PERIOD,
        within=NODE_GRACE + GANG,
    ),
    Scenario(
        name="network-cut",
        fault="no packet passes between the nodes until the job restarts",
        act=_training(_cut_network),
        cause="ProgressDeadlineExceeded",
        repeats=CHECKPOINT_PERIOD,
    ),
    Scenario(
        name="host-memory",
        fault="the kernel kills a worker in its memory cgroup",
        act=_training(_itself),
        cause=None,
        within=PROCESS,
        **_failing("host-memory"),
    ),
    Scenario(
        name="host-memory-final",
        fault="the kernel kills a worker, and the job may not restart",
        act=_training(_itself),
        cause="BackoffLimitExceeded",
        ends="Failed",
        failure="OOMKilled",
        **_failing("host-memory", elasticPolicy={"maxRestarts": 0}, runPolicy={"backoffLimit": 0}),
    ),
    Scenario(
        name="gpu-memory",
        fault="CUDA runs out of memory (raised by the model)",
        act=_training(_itself),
        cause="OutOfMemory",
        ends="Failed",
        failure="OutOfMemory",
        **_failing("gpu-memory"),
    ),
    Scenario(
        name="loss-not-finite",
        fault="a loss of one rank is NaN",
        act=_training(_itself),
        cause="NonFiniteLoss",
        ends="Failed",
        failure="NonFiniteLoss",
        **_failing("not-finite"),
    ),
    Scenario(
        name="wrong-config",
        fault="a config key that does not exist",
        act=_itself,
        cause="InvalidConfig",
        ends="Failed",
        failure="InvalidConfig",
        overrides=("SOLVER.BASE_LRR 0.1",),
    ),
    Scenario(
        name="output-full",
        fault="output volume full; room made, job applied again",
        act=_training(_fill_output),
        volume="64m",
        cause="OutputNotWritable",
        repeats=CHECKPOINT_PERIOD,
        within=GANG,
    ),
    Scenario(
        name="image-missing",
        fault="image missing, then pushed",
        act=_image_appears,
        cause=None,
        spec={"image": _MISSING_IMAGE},
        within=MINUTES,
    ),
    Scenario(
        name="suspended",
        fault="suspended and resumed",
        act=_training(_suspend),
        cause="SuspendRequested",
        within=GANG,
    ),
    Scenario(
        name="operator-killed",
        fault="SIGKILL of the operator and of a worker at once",
        act=_training(_operator_and_worker),
        cause=None,
        within=PROCESS,
    ),
    Scenario(
        name="api-server-away",
        fault=f"API server away for {AWAY:.0f} s",
        act=_training(_without_api_server),
        cause=None,
    ),
    Scenario(
        name="etcd-restarted", fault="SIGKILL and restart of etcd", act=_training(_restart_etcd), cause=None
    ),
    Scenario(
        name="deleted-starting",
        fault="job deleted while it starts",
        act=_delete_while_starting,
        cause=None,
        ends=DELETED,
    ),
    Scenario(
        name="deleted-running",
        fault="job deleted while it trains",
        act=_training(_delete_job),
        cause=None,
        ends=DELETED,
    ),
    Scenario(
        name="deleted-restarting",
        fault="job deleted while it restarts",
        act=_training(_delete_while_restarting),
        cause=None,
        ends=DELETED,
    ),
)
