"""The part of a pod spec that the scheduler reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from detectron_operator import labels
from detectron_operator.api import TrainingJob
from detectron_operator.api.placement import Colocation, NodeRule, Spread
from detectron_operator.manifests.gang import scheduler_name

_LOST_NODE = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
"""Taints of a node whose kubelet reports trouble, or nothing."""
_EVICTS = "NoExecute"
TOLERATED = timedelta(seconds=15)
"""How long a pod may stay on such a node: as after an outage of the API server, it may come back."""

_COLOCATION_WEIGHT = 100
"""Of a preference for being together: the most there is."""


def placement(job: TrainingJob, attempt: int) -> dict[str, object]:
    """Of a pod of the gang: only the fields that the job asks for, and the spread that it has by default.

    The gang finds its own pods by the attempt: those of the one before, which are on their way out, must not
    attract or repel the new ones.
    """
    asked = job.spec.placement
    gang = {"matchLabels": labels.of_attempt(job.name, attempt)}
    together = {"podAffinity": _together(asked.colocation, gang)} if asked.colocation else {}
    whole: dict[str, object] = {
        **node_placement(job),
        "topologySpreadConstraints": [_spread(spread, gang) for spread in asked.spread],
        "affinity": _node_affinity(asked.node_rules) | together,
        "schedulerName": scheduler_name(job),
    }
    return {field: value for field, value in whole.items() if value}


def node_placement(job: TrainingJob) -> dict[str, object]:
    """Of any pod of the job: which nodes it may have, and how urgent it is."""
    asked = job.spec.placement
    whole: dict[str, object] = {
        "nodeSelector": dict(asked.node_selector),
        "tolerations": [*map(dict, asked.tolerations), *_patience(asked.tolerations)],
        "affinity": _node_affinity(asked.node_rules),
        "priorityClassName": asked.priority_class,
        "runtimeClassName": asked.runtime_class,
    }
    return {field: value for field, value in whole.items() if value}


def _patience(asked: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """How long the pod may stay on a node that is lost, where the job does not say: not Kubernetes' 300 s."""
    return [
        {
            "key": key,
            "operator": "Exists",
            "effect": _EVICTS,
            "tolerationSeconds": int(TOLERATED.total_seconds()),
        }
        for key in _LOST_NODE
        if not any(
            toleration.get("key", key) == key and toleration.get("effect", _EVICTS) == _EVICTS
            for toleration in asked
        )
    ]


def _spread(spread: Spread, gang: Mapping[str, object]) -> dict[str, object]:
    return {
        "maxSkew": spread.max_skew,
        "topologyKey": spread.topology_key,
        "whenUnsatisfiable": spread.when_unsatisfiable,
        "labelSelector": gang,
    }


def _node_affinity(rules: Sequence[NodeRule]) -> dict[str, object]:
    required = [_expression(rule) for rule in rules if rule.weight is None]
    preferred = [
        {"weight": rule.weight, "preference": {"matchExpressions": [_expression(rule)]}}
        for rule in rules
        if rule.weight is not None
    ]
    terms = {"nodeSelectorTerms": [{"matchExpressions": required}]} if required else {}
    whole: dict[str, object] = {
        "requiredDuringSchedulingIgnoredDuringExecution": terms,
        "preferredDuringSchedulingIgnoredDuringExecution": preferred,
    }
    affinity = {field: value for field, value in whole.items() if value}
    return {"nodeAffinity": affinity} if affinity else {}


def _expression(rule: NodeRule) -> dict[str, object]:
    expression: dict[str, object] = {"key": rule.key, "operator": rule.operator}
    return expression | ({"values": list(rule.values)} if rule.values else {})


def _together(colocation: Colocation, gang: Mapping[str, object]) -> dict[str, object]:
    term = {"topologyKey": colocation.topology_key, "labelSelector": gang}
    if colocation.required:
        return {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    weighted = {"weight": _COLOCATION_WEIGHT, "podAffinityTerm": term}
    return {"preferredDuringSchedulingIgnoredDuringExecution": [weighted]}
