"""Where a job's pods may run: what the scheduler is told, in curated fields rather than a pod template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from detectron_operator import shape
from detectron_operator.api import fields
from detectron_operator.api.fields import Raw

HOSTNAME = "kubernetes.io/hostname"


@dataclass(frozen=True, kw_only=True)
class NodeRule:
    """What a node's label must be like; `weight` is None where the rule is required."""

    key: str
    operator: str
    values: tuple[str, ...]
    weight: int | None


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How evenly the gang's pods lie over the values of a node label."""

    topology_key: str
    max_skew: int
    when_unsatisfiable: str


@dataclass(frozen=True, kw_only=True)
class Colocation:
    """The node label whose value the gang's pods share, or would rather share."""

    topology_key: str
    required: bool


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The same for every pod of a gang."""

    node_selector: Mapping[str, str]
    tolerations: tuple[Mapping[str, object], ...]
    node_rules: tuple[NodeRule, ...]
    spread: tuple[Spread, ...]
    colocation: Colocation | None
    priority_class: str | None
    runtime_class: str | None


SPREAD_BY_DEFAULT = Spread(topology_key=HOSTNAME, max_skew=1, when_unsatisfiable="ScheduleAnyway")
"""One pod a node where there is room; a gang that fits only on fewer nodes still trains."""


def placement(spec: Raw) -> Placement:
    """The fields of the spec that say where to run."""
    return Placement(
        node_selector=fields.text_map(spec, "spec", "nodeSelector"),
        tolerations=tuple(item for item, _ in fields.objects(spec, "spec", "tolerations")),
        node_rules=_node_rules(spec),
        spread=_spread(spec) if "topologySpread" in spec else (SPREAD_BY_DEFAULT,),
        colocation=_colocation(spec),
        priority_class=fields.optional_text(spec, "spec", "priorityClassName"),
        runtime_class=fields.optional_text(spec, "spec", "runtimeClassName"),
    )


def _node_rules(spec: Raw) -> tuple[NodeRule, ...]:
    path = "spec.nodeAffinity"
    raw = shape.mapping(spec.get("nodeAffinity", {}), path)
    required = [(item, where, None) for item, where in fields.objects(raw, path, "required")]
    preferred = [
        (item, where, fields.integer(item, where, "weight", at_least=1, at_most=100))
        for item, where in fields.objects(raw, path, "preferred")
    ]
    return tuple(
        NodeRule(
            key=fields.text(item, where, "key"),
            operator=fields.text(item, where, "operator"),
            values=fields.texts(item, where, "values"),
            weight=weight,
        )
        for item, where, weight in [*required, *preferred]
    )


def _spread(spec: Raw) -> tuple[Spread, ...]:
    return tuple(
        Spread(
            topology_key=fields.text(item, path, "topologyKey"),
            max_skew=fields.integer(item, path, "maxSkew", at_least=1, at_most=512),
            when_unsatisfiable=fields.text(item, path, "whenUnsatisfiable"),
        )
        for item, path in fields.objects(spec, "spec", "topologySpread")
    )


def _colocation(spec: Raw) -> Colocation | None:
    if "colocation" not in spec:
        return None
    path = "spec.colocation"
    raw = fields.part(spec, "spec", "colocation")
    return Colocation(
        topology_key=fields.text(raw, path, "topologyKey"), required=fields.boolean(raw, path, "required")
    )
