"""`helm test`: a suspended job, which costs nothing, must get its status from the operator that is installed.

Exit codes: 0 the operator works, 1 it does not; the output says what was missing.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping

from kubernetes import client, config

from detectron_operator.kube.objects import JOBS
from detectron_operator.names import GROUP
from detectron_operator.reasons import SUSPENDED

PATIENCE = 60.0
"""Seconds that the operator has; one that stands by takes over within 15."""
INTERVAL = 0.5
VERSION = "v1alpha1"


class InstallationError(Exception):
    """What does not work."""


def job(name: str) -> Mapping[str, object]:
    """A job that the API server takes and that asks for nothing."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "DetectronTrainingJob",
        "metadata": {"name": name},
        "spec": {
            "config": {"base": "COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml"},
            "output": {"ephemeral": True},
            "runPolicy": {"suspend": True},
        },
    }


def prove(
    api: client.CustomObjectsApi, namespace: str, name: str, clock: Callable[[], float] = time.monotonic
) -> str:
    """Create the job, wait for its status, delete it; returns the status' message.

    Raises:
        InstallationError: no status came in time.
        client.ApiException: the API server refused.
    """
    where = (GROUP, VERSION, namespace, JOBS.plural)
    api.create_namespaced_custom_object(*where, job(name))
    try:
        deadline = clock() + PATIENCE
        while clock() < deadline:
            status = api.get_namespaced_custom_object(*where, name).get("status", {})
            if status.get("phase") == SUSPENDED:
                return str(status["message"])
            time.sleep(INTERVAL)
    finally:
        api.delete_namespaced_custom_object(*where, name)
    raise InstallationError(
        f"no operator gave the job a status within {PATIENCE:g} s:"
        f" does one run, and does it serve {namespace}?"
    )


def main() -> None:
    """Prove the installation in the namespace that the environment names."""
    config.load_config()
    try:
        with client.ApiClient() as connection:
            name = f"installation-test-{uuid.uuid4().hex[:8]}"
            said = prove(client.CustomObjectsApi(connection), os.environ["DETECTRON_TEST_NAMESPACE"], name)
    except (InstallationError, client.ApiException) as error:
        sys.exit(f"installation test: {error}")
    print(f"the operator works, it says: {said}")


if __name__ == "__main__":
    main()
