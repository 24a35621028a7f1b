"""How a gang may live on when it loses a process or a pod."""

from __future__ import annotations

from dataclasses import dataclass

from detectron_operator.api import fields
from detectron_operator.api.fields import Raw
from detectron_operator.shape import ShapeError

_PATH = "spec.elasticPolicy"


@dataclass(frozen=True, kw_only=True)
class ElasticPolicy:
    """Within an attempt workers start anew `max_restarts` times, with `min_nodes` to `max_nodes` pods."""

    min_nodes: int
    max_nodes: int
    max_restarts: int

    @property
    def elastic(self) -> bool:
        """Whether the gang goes on with fewer pods than it has asked for."""
        return self.min_nodes < self.max_nodes


def elastic_policy(spec: Raw, num_nodes: int, most: int) -> ElasticPolicy:
    """`spec.elasticPolicy`; without bounds a gang has just `num_nodes` pods."""
    raw = fields.part(spec, "spec", "elasticPolicy")
    restarts = fields.integer(raw, _PATH, "maxRestarts", at_least=0, at_most=100)
    if "minNodes" not in raw and "maxNodes" not in raw:
        return ElasticPolicy(min_nodes=num_nodes, max_nodes=num_nodes, max_restarts=restarts)
    least = fields.integer(raw, _PATH, "minNodes", at_least=1, at_most=most)
    greatest = fields.integer(raw, _PATH, "maxNodes", at_least=1, at_most=most)
    if not least <= num_nodes <= greatest:
        raise ShapeError("spec.numNodes", f"is {num_nodes}, must lie in {_PATH}'s {least}..{greatest}")
    return ElasticPolicy(min_nodes=least, max_nodes=greatest, max_restarts=restarts)
