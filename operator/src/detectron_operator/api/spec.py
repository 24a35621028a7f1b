"""The spec: what the operator itself acts upon."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from detectron_operator.api import fields
from detectron_operator.api.elastic_policy import ElasticPolicy, elastic_policy
from detectron_operator.api.environment import Source, Variable, sources, variables
from detectron_operator.api.fields import Raw
from detectron_operator.api.metrics import tls_secret
from detectron_operator.api.placement import Placement, placement
from detectron_operator.api.preflight import Preflight, preflight
from detectron_operator.api.resources import Resources, processes, resources
from detectron_operator.api.run_policy import RunPolicy, run_policy
from detectron_operator.api.scheduling import GangScheduling, gang_scheduling
from detectron_operator.api.storage import Output, Volume, output, volumes
from detectron_operator.shape import ShapeError

MAX_NODES = 512
MAX_MANIFEST_BYTES = 1_000_000
"""The manifest travels in a ConfigMap, which the API server bounds to 1 MiB."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What the operator itself acts upon; the trainer reads the whole of it from `document`.

    `code` names ConfigMaps.
    """

    image: str | None
    image_pull_policy: str
    image_pull_secrets: tuple[str, ...]
    service_account: str | None
    num_nodes: int
    elastic_policy: ElasticPolicy
    num_proc_per_node: int
    resources: Resources
    placement: Placement
    gang_scheduling: GangScheduling | None
    output: Output
    volumes: tuple[Volume, ...]
    code: tuple[str, ...]
    env: tuple[Variable, ...]
    env_from: tuple[Source, ...]
    grace_period_seconds: int
    metrics_tls_secret: str | None
    preflight: Preflight
    run_policy: RunPolicy
    document: Mapping[str, object]


def spec(raw: Raw) -> Spec:
    """The spec of a stored object."""
    if len(json.dumps(raw, ensure_ascii=False).encode(errors="replace")) > MAX_MANIFEST_BYTES:
        raise ShapeError(
            "spec", f"is larger than {MAX_MANIFEST_BYTES} bytes: move parts of it into files of a volume"
        )
    asked = resources(raw)
    checkpoint = fields.part(raw, "spec", "checkpoint")
    num_nodes = fields.integer(raw, "spec", "numNodes", at_least=1, at_most=MAX_NODES)
    elastic, gang = elastic_policy(raw, num_nodes, MAX_NODES), gang_scheduling(raw)
    if elastic.elastic and gang is not None:
        message = (
            "does not go with runPolicy.schedulingPolicy: a gang scheduler admits a fixed number of pods"
        )
        raise ShapeError("spec.elasticPolicy.minNodes", message)
    return Spec(
        image=fields.optional_text(raw, "spec", "image"),
        image_pull_policy=fields.text(raw, "spec", "imagePullPolicy"),
        image_pull_secrets=fields.texts(raw, "spec", "imagePullSecrets"),
        service_account=fields.optional_text(raw, "spec", "serviceAccountName"),
        num_nodes=num_nodes,
        elastic_policy=elastic,
        num_proc_per_node=processes(raw, asked),
        resources=asked,
        placement=placement(raw),
        gang_scheduling=gang,
        output=output(raw),
        volumes=volumes(raw),
        code=tuple(
            fields.text(item, path, "configMapName") for item, path in fields.objects(raw, "spec", "code")
        ),
        env=variables(raw),
        env_from=sources(raw),
        grace_period_seconds=fields.integer(
            checkpoint, "spec.checkpoint", "gracePeriodSeconds", at_least=10, at_most=3600
        ),
        metrics_tls_secret=tls_secret(raw),
        preflight=preflight(raw, asked),
        run_policy=run_policy(raw),
        document=raw,
    )
