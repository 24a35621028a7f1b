"""Where kopf calls in. Handlers only pass on what they are told: no decision is made here.

Only the lowest-level handlers are used, so kopf neither puts finalizers and annotations on objects nor keeps
a state of its own that could be lost or stale.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, cast

import kopf

from detectron_operator import labels, names
from detectron_operator.endpoints import Endpoints
from detectron_operator.engine.engine import Engine
from detectron_operator.kube.client import Client
from detectron_operator.kube.objects import Object
from detectron_operator.kube.ratelimit import RateLimit

IDLE = 0.2
"""Seconds after which kopf lets go of an object that is silent."""


class NoDiffBase(kopf.DiffBaseStorage):
    """Remembers no earlier state of objects: nobody asks for differences, and each copy costs time."""

    def build(
        self, *, body: kopf.Body, extra_fields: Iterable[kopf.FieldSpec] | None = None
    ) -> kopf.BodyEssence:
        """Nothing, of any object."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Nothing is ever known."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing is ever written."""


def settings() -> kopf.OperatorSettings:
    """How kopf watches: only our own pods, without peering, without scans for other resources."""
    chosen = kopf.OperatorSettings()
    # The key must be a tuple: kopf takes the text 'v1/pods' for a resource of that name, and filters nothing.
    chosen.watching.label_selectors["", "v1", "pods"] = labels.SELECTOR
    chosen.watching.chunk_size = 500
    # An object's worker holds its last event until it ends: after a list those of all objects, whole.
    chosen.queueing.idle_timeout = IDLE
    chosen.scanning.disabled = True
    chosen.peering.standalone = True
    chosen.posting.enabled = False
    chosen.posting.loggers = False
    chosen.persistence.diffbase_storage = NoDiffBase()
    chosen.process.ultimate_exiting_timeout = 60
    for chatty in ("kopf.objects", "kopf.activities", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return chosen


def registry(
    client: Client, engine: Engine, endpoints: Endpoints, stop_flag: asyncio.Event, logins: RateLimit
) -> kopf.OperatorRegistry:
    """The handlers that connect kopf with the engine.

    Args:
        client: whose credentials kopf uses too.
        endpoints: stopped with the engine.
        stop_flag: the one that kopf itself waits for.
        logins: how often kopf may take the credentials anew. While the API server takes nobody's, as when it
            cannot look tokens up, kopf itself would ask again at once, without end.
    """
    found = kopf.OperatorRegistry()

    @kopf.on.startup(registry=found, errors=kopf.ErrorsMode.PERMANENT)
    async def start(**_: Any) -> None:
        await engine.start()

    @kopf.on.cleanup(registry=found, errors=kopf.ErrorsMode.PERMANENT)
    async def stop(**_: Any) -> None:
        await engine.stop()
        # kopf would wait five seconds for the tasks of open connections and for its own at the flag.
        await endpoints.stop()
        stop_flag.set()

    @kopf.on.login(registry=found)
    async def login(**_: Any) -> kopf.AiohttpSession:
        await logins.acquire()
        return kopf.AiohttpSession(
            server=client.server, aiohttp_session=await client.watching_session(engine.watch_relisted)
        )

    _feed(engine, found)
    return found


def _feed(engine: Engine, registry: kopf.OperatorRegistry) -> None:
    """Pass on what the watches say."""

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=registry)
    async def job(event: kopf.RawEvent, **_: Any) -> None:
        engine.take_job(event["type"], cast("Object", event["object"]))

    @kopf.on.event("", "v1", "pods", registry=registry)
    async def pod(event: kopf.RawEvent, **_: Any) -> None:
        engine.take_pod(event["type"], cast("Object", event["object"]))
