"""How a job's pods serve their metrics."""

from __future__ import annotations

from detectron_operator import shape
from detectron_operator.api import fields
from detectron_operator.api.fields import Raw


def tls_secret(spec: Raw) -> str | None:
    """`spec.metrics.tls.secretName`, None where metrics are served in plain HTTP."""
    tls = shape.mapping(fields.part(spec, "spec", "metrics").get("tls", {}), "spec.metrics.tls")
    return fields.text(tls, "spec.metrics.tls", "secretName") if tls else None
