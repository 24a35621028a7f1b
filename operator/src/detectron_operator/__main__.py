"""The operator's process.

Exit codes: 0 told to stop, 1 something failed (start it again), 2 wrong flags.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import logging
import os
import socket
import sys
import time

import kopf
import uvloop
from kubernetes.aio.config import ConfigException

from detectron_operator import handlers, names
from detectron_operator import settings as settings_module
from detectron_operator.engine.engine import Engine
from detectron_operator.kube import credentials
from detectron_operator.kube.client import Client
from detectron_operator.kube.errors import KubeError
from detectron_operator.kube.objects import JOBS
from detectron_operator.kube.ratelimit import RateLimit
from detectron_operator.metrics import Exposition, Metrics
from detectron_operator.settings import Settings

logger = logging.getLogger("detectron_operator")


class StartError(Exception):
    """The operator cannot do its work here; the message says what to change."""


def main() -> None:
    """Run the operator until it is told to stop."""
    settings = settings_module.parse(sys.argv[1:], os.environ)
    formats = {"json": kopf.LogFormat.JSON, "plain": kopf.LogFormat.FULL}
    kopf.configure(log_format=formats[settings.log_format])
    try:
        uvloop.run(serve(settings))
    except (StartError, ConfigException, KubeError) as error:
        sys.exit(f"detectron-operator: {error}")


async def serve(settings: Settings) -> None:
    """Connect, check that the cluster knows the resource, and hand over to kopf.

    Raises:
        StartError: the custom resource is not installed.
        KubeError, ConfigException: the API server cannot be reached.
    """
    metrics = Metrics(importlib.metadata.version("detectron-operator"))
    limit = RateLimit(settings.client_qps, settings.client_burst, time.monotonic)
    async with Client(await credentials.load(os.environ), limit, metrics.request) as client:
        if not await client.serves(JOBS):
            raise StartError(
                f"the API server does not know {names.PLURAL}.{names.GROUP}: "
                "install the chart with crds.enabled, or kubectl apply -f crds/detectrontrainingjobs.yaml"
            )
        stop = asyncio.Event()
        instance = socket.gethostname()
        engine = Engine(settings, client, metrics, instance, stop.set)
        # What is loaded by now stays until the end: the collector need not look at it again and again.
        gc.freeze()
        await kopf.operator(
            registry=handlers.registry(
                client, engine, Exposition(metrics.registry, settings.metrics_port), stop
            ),
            settings=handlers.settings(),
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            liveness_endpoint=f"http://0.0.0.0:{settings.health_port}/healthz",
            stop_flag=stop,
            # Left to itself kopf looks up the name of a user id that no image knows.
            identity=instance,  # type: ignore[arg-type]  # kopf does not export the type
        )
        if engine.failure is not None:
            raise engine.failure


if __name__ == "__main__":
    main()
