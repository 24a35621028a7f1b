"""Where a job's pods may run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from detectron_operator.api import fields
from detectron_operator.api.fields import Raw


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Fields of the pod spec that the scheduler reads, the same for every pod of a gang."""

    node_selector: Mapping[str, str]
    tolerations: tuple[Mapping[str, object], ...]


def placement(spec: Raw) -> Placement:
    """The fields of the spec that say where to run."""
    return Placement(
        node_selector=fields.text_map(spec, "spec", "nodeSelector"),
        tolerations=tuple(item for item, _ in fields.objects(spec, "spec", "tolerations")),
    )
