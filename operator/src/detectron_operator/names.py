"""Names of everything a job owns: pure functions of the job, the attempt and the node index."""

from __future__ import annotations

import re

GROUP = "detectron.dev"
VERSION = "v1alpha1"
PLURAL = "detectrontrainingjobs"
KIND = "DetectronTrainingJob"
API_VERSION = f"{GROUP}/{VERSION}"

MAX_JOB_NAME = 50
"""Leaves room for `-<attempt>-<index>` in a DNS label of 63: attempts of up to eight digits."""

_JOB_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


CONTAINER = "trainer"
"""The pods' one container."""


def is_job_name(name: str) -> bool:
    """Whether pods, hostnames and a Service can be named after this job."""
    return len(name) <= MAX_JOB_NAME and _JOB_NAME.fullmatch(name) is not None


def pod_name(job: str, attempt: int, index: int, replacement: int = 0) -> str:
    """`<job>-<attempt>-<index>`, with `r<replacement>` for the pods that took the first one's place.

    Two jobs never share one: read from its end, a name has only one beginning.
    """
    return f"{job}-{attempt}-{index}" + (f"r{replacement}" if replacement else "")


def pod_group(job: str, attempt: int) -> str:
    """`<job>-<attempt>`: what Kueue knows the pods of one attempt by."""
    return f"{job}-{attempt}"


def preflight_pod(job: str) -> str:
    """The pod that checks the job."""
    return f"{job}-preflight"


def output_claim(job: str) -> str:
    """The claim that the operator makes for the output."""
    return f"{job}-output"


def hostname(index: int) -> str:
    """`node-NNN`, zero-padded: c10d sorts by address, so the text order must be the numeric order."""
    return f"node-{index:03d}"


def host(job: str, index: int) -> str:
    """DNS name of a pod of the gang, within its namespace; the Service is named after the job."""
    return f"{hostname(index)}.{job}"
