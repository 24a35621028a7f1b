"""The API server's own limit: the creates of a burst, made by a client that does nothing else."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from detectron_operator import api
from detectron_operator.kube import credentials
from detectron_operator.kube.client import CONNECTIONS, Client
from detectron_operator.kube.clock import Clock
from detectron_operator.kube.objects import resource_of
from detectron_operator.kube.ratelimit import RateLimit
from detectron_operator.labels import MANAGED_BY
from detectron_operator.plan import CreateChild, Defaults, plan

UNLIMITED = 1e6


def creation_seconds(kubeconfig: Path, namespace: str, stored: Mapping[str, object], jobs: int) -> float:
    """Seconds that it takes to create the children of so many jobs in a namespace, with nothing in between.

    The objects, the client, its connections and their number are the operator's own; a job's Service and
    ConfigMap come before its pods, as there. They have no owner and another manager's label, so that neither
    the garbage collector nor the operator's watch takes notice.

    Args:
        stored: a job as the API server shows it, with its defaults.
    """
    return asyncio.run(_create(kubeconfig, namespace, stored, jobs))


async def _create(kubeconfig: Path, namespace: str, stored: Mapping[str, object], jobs: int) -> float:
    limit = RateLimit(UNLIMITED, int(UNLIMITED), time.monotonic)
    configuration = await credentials.load({"KUBECONFIG": str(kubeconfig)})
    clock = Clock(time.monotonic, datetime.now(UTC))
    async with Client(configuration, limit, lambda *_: None, clock, timeout=30) as client:
        work = iter([_children(stored, f"bare-{number}", namespace) for number in range(jobs)])

        async def worker() -> None:
            for children in work:
                for child in children:
                    await client.create(resource_of(child.manifest), namespace, child.manifest)

        began = time.monotonic()
        await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
        return time.monotonic() - began


def _children(stored: Mapping[str, object], name: str, namespace: str) -> list[CreateChild]:
    """A job's children as the operator renders them."""
    raw: dict[str, Any] = json.loads(json.dumps(stored))
    raw["metadata"] |= {"name": name, "namespace": namespace}
    step = plan(api.parse(raw), [], None, datetime.now(UTC), Defaults("trainer:bench"))
    for child in step.create:
        metadata: Any = child.manifest["metadata"]
        del metadata["ownerReferences"]
        metadata["labels"][MANAGED_BY] = "bench"
    return sorted(step.create, key=lambda child: child.kind == "Pod")
