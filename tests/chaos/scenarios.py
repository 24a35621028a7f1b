"""Every scenario that needs real nodes; docs/faults.md says which tests hold the others."""

from __future__ import annotations

import functools
import signal
from typing import TypedDict

from tests.chaos import faults, strikes
from tests.chaos.scenario import DELETED, Scenario
from tests.chaos.trial import CHECKPOINT_PERIOD, MINUTES, STRIKE_AT

PROCESS, POD, GANG = 20.0, 30.0, 45.0
"""Seconds in which training is to go on after the death of a process, of a pod, of a gang."""
NODE_GRACE = 20.0
"""The test cluster's node-monitor-grace-period."""
HANG = 30.0 + 2 * 1.0
"""Seconds in which a hang is to be noticed: 30, and twice the p99 of an iteration, here less than 1."""
PROBES = 10.0
"""Seconds that the kubelet takes to find a pod not ready."""


class Job(TypedDict):
    """The parts of a scenario that are its job's."""

    overrides: tuple[str, ...]
    env: dict[str, str]
    spec: dict[str, object]


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
        act=strikes.worker(1, signal.SIGKILL),
        cause=None,
        within=PROCESS,
    ),
    Scenario(
        name="rank-0-killed",
        fault="SIGKILL of rank 0",
        act=strikes.worker(0, signal.SIGKILL),
        cause=None,
        repeats=CHECKPOINT_PERIOD,
        within=PROCESS,
    ),
    Scenario(
        name="worker-hangs",
        fault="a worker hangs (SIGSTOP of rank 1)",
        act=strikes.worker(1, signal.SIGSTOP),
        cause="ProgressDeadlineExceeded",
        repeats=CHECKPOINT_PERIOD,
        notice_within=HANG,
    ),
    Scenario(
        name="pod-deleted",
        fault="`kubectl delete pod` of node-001",
        act=strikes.delete(1),
        cause="PodDeleted",
        within=GANG,
    ),
    Scenario(
        name="pod-0-deleted",
        fault="`kubectl delete pod` of node-000",
        act=strikes.delete(0),
        cause="PodDeleted",
        within=GANG,
    ),
    Scenario(
        name="pod-killed",
        fault="node-001 deleted by force, without grace",
        act=strikes.delete(1, *strikes.FORCE),
        cause="PodDeleted",
        within=POD,
    ),
    Scenario(
        name="pod-0-killed",
        fault="node-000 deleted by force, without grace",
        act=strikes.delete(0, *strikes.FORCE),
        cause="PodDeleted",
        repeats=CHECKPOINT_PERIOD,
        within=GANG,
    ),
    Scenario(
        name="pod-evicted",
        fault="eviction through the API",
        act=strikes.training(functools.partial(faults.evict_pod, index=1)),
        cause="PodDisrupted",
        within=GANG,
    ),
    Scenario(
        name="node-drained",
        fault="drain of the node of node-000",
        act=strikes.training(functools.partial(faults.drain_node, index=0)),
        cause="PodDisrupted",
        within=GANG,
    ),
    Scenario(
        name="node-lost",
        fault="loss of the node of node-001",
        act=strikes.training(functools.partial(faults.lose_node, index=1)),
        cause="NodeLost",
        within=NODE_GRACE + GANG,
    ),
    Scenario(
        name="node-0-lost",
        fault="loss of the node of node-000",
        act=strikes.training(functools.partial(faults.lose_node, index=0)),
        cause="NodeLost",
        repeats=CHECKPOINT_PERIOD,
        within=NODE_GRACE + GANG,
    ),
    Scenario(
        name="elastic-node-lost",
        fault="loss of the node of node-001 of an elastic job, until it trains on alone; the node comes back",
        act=strikes.training(strikes.lose_node_for_a_while),
        cause=None,
        within=GANG,
        iterations=400,
        spec={
            "elasticPolicy": {"minNodes": 1, "maxNodes": 2},
            # The replacement has to wait for the node.
            "topologySpread": [
                {"topologyKey": "kubernetes.io/hostname", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
            ],
        },
    ),
    Scenario(
        name="network-cut",
        fault="no packet passes between the nodes until the job restarts",
        act=strikes.training(strikes.cut_network),
        cause="ProgressDeadlineExceeded",
        repeats=CHECKPOINT_PERIOD,
        notice_within=HANG,
    ),
    Scenario(
        name="network-cut-from-operator",
        fault="the same, with all operators on the node of node-001",
        act=strikes.cut_network_from_operator,
        cause="ProgressDeadlineExceeded",
        repeats=CHECKPOINT_PERIOD,
        notice_within=HANG + PROBES,
        iterations=400,
    ),
    Scenario(
        name="network-cut-briefly",
        fault=f"no packet passes between the nodes for {strikes.CUT:.0f} s",
        act=strikes.training(strikes.cut_network_briefly),
        cause=None,
        repeats=CHECKPOINT_PERIOD,
        within=GANG,
    ),
    Scenario(
        name="host-memory",
        fault="the kernel kills a worker in its memory cgroup",
        act=strikes.training(strikes.itself),
        cause=None,
        within=PROCESS,
        **_failing("host-memory"),
    ),
    Scenario(
        name="host-memory-final",
        fault="the kernel kills a worker, and the job may not restart",
        act=strikes.training(strikes.itself),
        cause="BackoffLimitExceeded",
        ends="Failed",
        failure="OOMKilled",
        **_failing("host-memory", elasticPolicy={"maxRestarts": 0}, runPolicy={"backoffLimit": 0}),
    ),
    Scenario(
        name="gpu-memory",
        fault="CUDA runs out of memory (raised by the model)",
        act=strikes.training(strikes.itself),
        cause="OutOfMemory",
        ends="Failed",
        failure="OutOfMemory",
        **_failing("gpu-memory"),
    ),
    Scenario(
        name="loss-not-finite",
        fault="a loss of one rank is NaN",
        act=strikes.training(strikes.itself),
        cause="NonFiniteLoss",
        ends="Failed",
        failure="NonFiniteLoss",
        **_failing("not-finite"),
    ),
    Scenario(
        name="wrong-config",
        fault="a config key that does not exist",
        act=strikes.itself,
        cause="InvalidConfig",
        ends="Failed",
        failure="InvalidConfig",
        overrides=("SOLVER.BASE_LRR 0.1",),
    ),
    Scenario(
        name="output-full",
        fault="output volume full, which ends the job; room made, job deleted and applied anew",
        act=strikes.training(strikes.fill_output),
        volume="64m",
        cause="OutputNotWritable",
        repeats=CHECKPOINT_PERIOD,
        within=GANG,
    ),
    Scenario(
        name="image-missing",
        fault="image missing, then pushed",
        act=strikes.image_appears,
        cause=None,
        spec={"image": strikes.MISSING_IMAGE},
        within=MINUTES,
    ),
    Scenario(
        name="suspended",
        fault="suspended and resumed, while each second about 5 other jobs are created and 5 deleted",
        act=strikes.suspend_under_load,
        cause="SuspendRequested",
        within=GANG,
    ),
    Scenario(
        name="operator-killed",
        fault="SIGKILL of the operator and of a worker at once",
        act=strikes.training(strikes.operator_and_worker),
        cause=None,
        within=PROCESS,
    ),
    Scenario(
        name="leader-killed",
        fault="SIGKILL of the operator that holds the Lease, and `kubectl delete pod` of node-001 at once",
        act=strikes.training(strikes.operator_and_pod),
        cause="PodDeleted",
        within=GANG,
        pods=3,
    ),
    Scenario(
        name="two-operators",
        fault="a worker that may not restart dies (SIGKILL of rank 1) under two operators without a Lease",
        act=strikes.worker(1, signal.SIGKILL),
        operator={"DETECTRON_OPERATOR_LEASE": ""},
        cause="ProcessFailed",
        within=GANG,
        pods=4,
        restarts=1,
        spec={"elasticPolicy": {"maxRestarts": 0}},
    ),
    Scenario(
        name="requests-refused",
        fault=f"429 to all that operators ask for {strikes.AWAY:.0f} s, and `kubectl delete pod` of node-001",
        act=strikes.training(strikes.refused_operator),
        cause="PodDeleted",
        within=GANG,
        pods=3,
    ),
    Scenario(
        name="watch-too-old",
        fault="410 to the operator's watch: node-001 deleted by force and etcd compacted while it was cut",
        act=strikes.training(strikes.deleted_unseen),
        # A leader that hears nothing for as long as this takes would end: it is to live on and look again.
        operator={"DETECTRON_OPERATOR_LEASE_DURATION": "60"},
        cause="PodDeleted",
        within=GANG,
        pods=3,
    ),
    Scenario(
        name="api-server-away",
        fault=f"API server away for {strikes.AWAY:.0f} s",
        act=strikes.training(strikes.without_api_server),
        cause=None,
    ),
    Scenario(
        name="etcd-restarted",
        fault="SIGKILL and restart of etcd",
        act=strikes.training(strikes.restart_etcd),
        cause=None,
    ),
    Scenario(
        name="deleted-starting",
        fault="job deleted while it starts",
        act=strikes.delete_while_starting,
        cause=None,
        ends=DELETED,
    ),
    Scenario(
        name="deleted-running",
        fault="job deleted while it trains",
        act=strikes.training(strikes.delete_job),
        cause=None,
        ends=DELETED,
    ),
    Scenario(
        name="deleted-restarting",
        fault="job deleted while it restarts",
        act=strikes.training(strikes.delete_while_restarting),
        cause=None,
        ends=DELETED,
    ),
)
