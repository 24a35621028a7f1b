"""Labels that find a job's pods, for the operator's watch, the Service and the topology spread."""

from __future__ import annotations

from detectron_operator.names import GROUP

MANAGED_BY = "app.kubernetes.io/managed-by"
OPERATOR = "detectron-operator"
JOB = f"{GROUP}/job"
ATTEMPT = f"{GROUP}/attempt"
REPLACEMENT = f"{GROUP}/replacement"
NODE_INDEX = f"{GROUP}/node-index"
METRICS_SCHEME = f"{GROUP}/metrics-scheme"
"""`https` on pods that serve their metrics so; PodMonitors make Prometheus follow."""

ROLE = f"{GROUP}/role"
PREFLIGHT = "preflight"

SELECTOR = f"{MANAGED_BY}={OPERATOR}"
"""What the operator watches, filtered by the API server."""


def of_job(job: str) -> dict[str, str]:
    """Labels of every child of a job."""
    return {MANAGED_BY: OPERATOR, JOB: job}


def of_attempt(job: str, attempt: int) -> dict[str, str]:
    """Labels shared by the pods of one attempt."""
    return {**of_job(job), ATTEMPT: str(attempt)}


def of_node(job: str, index: int) -> dict[str, str]:
    """Labels shared by the pods of one index, whatever their attempt."""
    return {**of_job(job), NODE_INDEX: str(index)}


def of_pod(job: str, attempt: int, index: int, replacement: int = 0) -> dict[str, str]:
    """Labels of one pod; the first of its index in an attempt is no replacement."""
    found = of_attempt(job, attempt) | of_node(job, index)
    return found | ({REPLACEMENT: str(replacement)} if replacement else {})


def of_preflight(job: str) -> dict[str, str]:
    """Labels of the pod that checks a job, which is in no attempt."""
    return {**of_job(job), ROLE: PREFLIGHT}
