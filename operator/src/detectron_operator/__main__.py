"""The operator's process.

Exit codes: 0 told to stop, 1 something failed (start it again), 2 wrong flags.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib.metadata
import logging
import os
import signal
import socket
import sys
import time
import uuid
from datetime import UTC, datetime

import kopf
import uvloop
from kubernetes.aio.config import ConfigException

from detectron_operator import handlers, names
from detectron_operator import settings as settings_module
from detectron_operator.endpoints import Endpoints
from detectron_operator.engine.engine import Engine
from detectron_operator.kube import credentials
from detectron_operator.kube.client import Client
from detectron_operator.kube.clock import Clock
from detectron_operator.kube.errors import KubeError
from detectron_operator.kube.lease import Elector
from detectron_operator.kube.objects import JOBS, Key
from detectron_operator.kube.ratelimit import RateLimit
from detectron_operator.leadership import lead
from detectron_operator.metrics import Metrics
from detectron_operator.settings import Settings

COLLECT = (50_000, 20, 20)
"""When to look for garbage that refers to itself: what watches and lists bring in bulk is never such."""
LEASE_QPS = 10
"""Requests a second about the Lease, at most."""
LOGIN_QPS, LOGINS = 0.5, 3
"""How often credentials that the API server has refused to a watch are taken anew."""

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
    """Answer probes, stand by while another operator works, then work until told to stop.

    Raises:
        StartError: the custom resource is not installed, or a port is taken.
        KubeError, ConfigException: the API server cannot be reached.
    """
    metrics = Metrics(importlib.metadata.version("detectron-operator"))
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    clock = Clock(time.monotonic, datetime.now(UTC))
    async with contextlib.AsyncExitStack() as stack:
        elector = await _elector(settings, metrics, clock, stack)
        leads = elector.leads if elector else lambda: True
        metrics.leader.set_function(leads)
        limit = RateLimit(settings.client_qps, settings.client_burst, time.monotonic)
        client = await stack.enter_async_context(
            Client(
                await credentials.load(os.environ),
                limit,
                metrics.request,
                clock,
                settings.request_timeout,
                may_write=leads,
            )
        )
        engine = Engine(settings, client, metrics, clock.now, socket.gethostname(), stop.set)
        endpoints = Endpoints(
            metrics.registry,
            ailments=lambda: engine.ailments() + (elector.ailments() if elector else []),
            ready=lambda: engine.started or (elector is not None and elector.stands_by),
        )
        stack.push_async_callback(endpoints.stop)
        try:
            await endpoints.start(settings.metrics_port, settings.health_port)
        except OSError as error:
            raise StartError(
                f"cannot listen on port {settings.metrics_port} or {settings.health_port}: {error}"
            ) from error
        # What is loaded by now stays until the end: the collector need not look at it again and again.
        gc.freeze()
        gc.set_threshold(*COLLECT)
        work = functools.partial(_work, settings, client, engine, endpoints, stop)
        await (lead(elector, stop, work, _die) if elector else work())


async def _elector(
    settings: Settings, metrics: Metrics, clock: Clock, stack: contextlib.AsyncExitStack
) -> Elector | None:
    """The candidacy for the Lease that the settings name, over a connection of its own."""
    if not settings.lease:
        return None
    limit = RateLimit(LEASE_QPS, LEASE_QPS, time.monotonic)
    client = await stack.enter_async_context(
        Client(await credentials.load(os.environ), limit, metrics.request, clock, settings.request_timeout)
    )
    return Elector(
        client,
        Key(*settings.lease.split("/")),
        identity=f"{socket.gethostname()}_{uuid.uuid4()}",
        duration=settings.lease_duration,
        clock=asyncio.get_running_loop().time,
        now=clock.now,
    )


async def _work(
    settings: Settings, client: Client, engine: Engine, endpoints: Endpoints, stop: asyncio.Event
) -> None:
    """Check that the cluster knows the resource, and hand over to kopf."""
    if not await client.serves(JOBS):
        raise StartError(
            f"the API server does not know {names.PLURAL}.{names.GROUP}: "
            "install the chart with crds.enabled, or kubectl apply -f crds/detectrontrainingjobs.yaml"
        )
    await kopf.operator(
        registry=handlers.registry(
            client, engine, endpoints, stop, RateLimit(LOGIN_QPS, LOGINS, time.monotonic)
        ),
        settings=handlers.settings(),
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        stop_flag=stop,
        # Left to itself kopf looks up the name of a user id that no image knows.
        identity=socket.gethostname(),  # type: ignore[arg-type]  # kopf does not export the type
    )
    if engine.failure is not None:
        raise engine.failure


def _die(error: BaseException) -> None:
    """End the process at once: whatever it still did could meet the work of the operator that leads now."""
    logger.critical("this operator does not lead any more, so it ends: %s", error)
    os._exit(1)


if __name__ == "__main__":
    main()
