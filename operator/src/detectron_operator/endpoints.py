"""What the process answers over HTTP: its metrics, and to the kubelet whether it is well and ready."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

logger = logging.getLogger(__name__)


class Endpoints:
    """`/metrics` on one port, `/healthz` and `/readyz` on another, on every interface of this machine.

    Args:
        registry: of the metrics.
        ailments: what shows that no work is being done; empty while all is well.
        ready: whether this operator works, or could at once where another one works.
    """

    def __init__(
        self, registry: CollectorRegistry, ailments: Callable[[], Sequence[str]], ready: Callable[[], bool]
    ) -> None:
        self._registry = registry
        self._ailments = ailments
        self._ready = ready
        self._runners: list[web.AppRunner] = []

    async def start(self, metrics_port: int, health_port: int) -> None:
        """Listen.

        Raises:
            OSError: a port is taken.
        """
        metrics, health = web.Application(), web.Application()
        metrics.router.add_get("/metrics", make_aiohttp_handler(self._registry))
        health.router.add_get("/healthz", self._healthz)
        health.router.add_get("/readyz", self._readyz)
        for app, port in ((metrics, metrics_port), (health, health_port)):
            runner = web.AppRunner(app, access_log=None, handle_signals=False)
            self._runners.append(runner)
            await runner.setup()
            await web.TCPSite(runner, None, port).start()

    async def stop(self) -> None:
        """Close the ports and every connection; nothing happens the second time."""
        while self._runners:
            await self._runners.pop().cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        ailments = list(self._ailments())
        if ailments:
            logger.warning("not well: %s", "; ".join(ailments))
        return web.json_response({"ailments": ailments}, status=500 if ailments else 200)

    async def _readyz(self, _: web.Request) -> web.Response:
        ready = self._ready()
        return web.json_response({"ready": ready}, status=200 if ready else 503)
