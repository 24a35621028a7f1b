"""The part of a pod spec that the scheduler reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from detectron_operator import labels
from detectron_operator.api import TrainingJob
from detectron_operator.api.placement import Colocation, NodeRule, Spread
from detectron_operator.manifests.gang import scheduler_name

_COLOCATION_WEIGHT = 100
"""Of a preference for being together: the most there is."""


def placement(job: TrainingJob, attempt: int) -> dict[str, object]:
    """Only the fields that the job asks for, and the spread that it has by default.

    The gang finds its own pods by the attempt: those of the one before, which are on their way out, must not
    attract or repel the new ones.
    """
    asked = job.spec.placement
    gang = {"matchLabels": labels.of_attempt(job.name, attempt)}
    whole: dict[str, object] = {
        "nodeSelector": dict(asked.node_selector),
        "tolerations": [dict(toleration) for toleration in asked.tolerations],
        "topologySpreadConstraints": [_spread(spread, gang) for spread in asked.spread],
        "affinity": _affinity(asked.node_rules, asked.colocation, gang),
        "priorityClassName": asked.priority_class,
        "runtimeClassName": asked.runtime_class,
        "schedulerName": scheduler_name(job),
    }
    return {field: value for field, value in whole.items() if value}


def _spread(spread: Spread, gang: Mapping[str, object]) -> dict[str, object]:
    return {
        "maxSkew": spread.max_skew,
        "topologyKey": spread.topology_key,
        "whenUnsatisfiable": spread.when_unsatisfiable,
        "labelSelector": gang,
    }


def _affinity(
    rules: Iterable[NodeRule], colocation: Colocation | None, gang: Mapping[str, object]
) -> dict[str, object]:
    affinity: dict[str, object] = {}
    required = [_expression(rule) for rule in rules if rule.weight is None]
    preferred = [
        {"weight": rule.weight, "preference": {"matchExpressions": [_expression(rule)]}}
        for rule in rules
        if rule.weight is not None
    ]
    node: dict[str, object] = {}
    if required:
        terms = {"nodeSelectorTerms": [{"matchExpressions": required}]}
        node["requiredDuringSchedulingIgnoredDuringExecution"] = terms
    if preferred:
        node["preferredDuringSchedulingIgnoredDuringExecution"] = preferred
    if node:
        affinity["nodeAffinity"] = node
    if colocation:
        affinity["podAffinity"] = _together(colocation, gang)
    return affinity


def _expression(rule: NodeRule) -> dict[str, object]:
    expression: dict[str, object] = {"key": rule.key, "operator": rule.operator}
    return expression | ({"values": list(rule.values)} if rule.values else {})


def _together(colocation: Colocation, gang: Mapping[str, object]) -> dict[str, object]:
    term = {"topologyKey": colocation.topology_key, "labelSelector": gang}
    if colocation.required:
        return {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    weighted = {"weight": _COLOCATION_WEIGHT, "podAffinityTerm": term}
    return {"preferredDuringSchedulingIgnoredDuringExecution": [weighted]}
