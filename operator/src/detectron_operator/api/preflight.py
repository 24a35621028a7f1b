"""The check of a job before its gang exists: `spec.preflight`."""

from __future__ import annotations

from dataclasses import dataclass

from detectron_operator import shape
from detectron_operator.api import fields
from detectron_operator.api.fields import Raw
from detectron_operator.api.resources import Resources, quantities
from detectron_operator.shape import ShapeError

_PATH = "spec.preflight"


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """Whether to check, what the check may use, and for how long from its pod's start on a node."""

    enabled: bool
    timeout_seconds: int
    resources: Resources


def preflight(spec: Raw, asked_for: Resources) -> Preflight:
    """By default it is done where the gang would hold accelerators: only there is a mistake dear."""
    raw = fields.part(spec, "spec", "preflight")
    resources = quantities(
        shape.mapping(raw.get("resources", {}), f"{_PATH}.resources"), f"{_PATH}.resources"
    )
    device = next((name for name in resources.limits if "/" in name), None)
    if device is not None:
        raise ShapeError(f"{_PATH}.resources.limits[{device}]", "is a device, and the check uses none")
    dear = asked_for.gpus > 0 or bool(asked_for.uncounted)
    return Preflight(
        enabled=fields.boolean(raw, _PATH, "enabled") if "enabled" in raw else dear,
        timeout_seconds=fields.integer(raw, _PATH, "timeoutSeconds", at_least=1, at_most=86400),
        resources=resources,
    )
