"""How torchrun finds its gang: the environment of docs/pod-contract.md."""

from __future__ import annotations

from detectron_operator import names
from detectron_operator.api import TrainingJob
from detectron_operator.api.elastic_policy import ElasticPolicy
from detectron_operator.quantity import parse_quantity

COMMAND = ("python", "-m", "detectron_trainer.agent")
RENDEZVOUS_PORT = 29400
METRICS_PORT = 9464
MANIFEST_PATH = "/etc/detectron/job.yaml"
METRICS_TLS_PATH = "/etc/detectron/metrics-tls"
OUTPUT_PATH = "/output"
TERMINATION_LOG = "/dev/termination-log"

_SHUTDOWN_RESERVE = 5
"""Seconds of the grace period that torchrun leaves to itself after its workers had theirs."""


_MANY_NODES = 32


def environment(job: TrainingJob, attempt: int, index: int) -> dict[str, str]:
    """The variables that wire one pod into the rendezvous of its attempt; users cannot name any of them."""
    policy = job.spec.elastic_policy
    return {
        "PET_NNODES": f"{policy.min_nodes}:{policy.max_nodes}",
        "PET_NPROC_PER_NODE": str(job.spec.num_proc_per_node),
        "PET_RDZV_BACKEND": "c10d",
        "PET_RDZV_ENDPOINT": f"{names.host(job.name, 0)}:{RENDEZVOUS_PORT}",
        "PET_RDZV_ID": f"{job.uid}-{attempt}",
        "PET_RDZV_CONF": _rendezvous_options(policy, hosts=index == 0),
        "PET_MAX_RESTARTS": str(policy.max_restarts),
        "PET_LOCAL_ADDR": names.host(job.name, index),
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(job.spec.grace_period_seconds - _SHUTDOWN_RESERVE),
        "DETECTRON_JOB": f"{job.namespace}/{job.name}",
        "DETECTRON_ATTEMPT": str(attempt),
        "DETECTRON_NODE": str(index),
        "DETECTRON_MANIFEST": MANIFEST_PATH,
        "DETECTRON_OUTPUT": OUTPUT_PATH,
        "DETECTRON_METRICS_PORT": str(METRICS_PORT),
        "DETECTRON_TERMINATION_LOG": TERMINATION_LOG,
        **({"DETECTRON_METRICS_TLS": METRICS_TLS_PATH} if job.spec.metrics_tls_secret else {}),
    }


def _rendezvous_options(policy: ElasticPolicy, *, hosts: bool) -> str:
    """A peer that is silent for four heartbeats is given up, before a replacement could have come up.

    Each heartbeat rewrites the whole state of the rendezvous, so large gangs beat at torchrun's own pace.
    """
    options = {
        "is_host": "true" if hosts else "false",
        "join_timeout": 600,
        # For more than the fewest pods of an elastic gang: each that joins later restarts all workers.
        "last_call_timeout": 15,
        "keep_alive_interval": 2 if policy.max_nodes <= _MANY_NODES else 5,
        "keep_alive_max_attempt": 4,
    }
    return ",".join(f"{name}={value}" for name, value in options.items())


def threads(job: TrainingJob) -> dict[str, str]:
    """OMP_NUM_THREADS for the job's share of a node's processors; nothing where the job does not say it.

    Left to itself PyTorch starts a thread for each processor of the node, whatever the pod may use of them.
    """
    asked = job.spec.resources.limits.get("cpu") or job.spec.resources.requests.get("cpu")
    if asked is None:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, int(parse_quantity(asked)) // job.spec.num_proc_per_node))}
