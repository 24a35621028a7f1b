"""The training processes' environment: values, and names of Secrets and ConfigMaps that hold them.

The operator only passes the names on: kubelets read what they name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from detectron_operator.api import fields
from detectron_operator.api.fields import Raw
from detectron_operator.shape import ShapeError


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key of an object of the job's namespace."""

    kind: Literal["secretKeyRef", "configMapKeyRef"]
    name: str
    key: str


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One variable, with its value or where that is."""

    name: str
    value: str | Key


@dataclass(frozen=True, kw_only=True)
class Source:
    """An object of the job's namespace each of whose keys becomes a variable, `prefix` before its name."""

    kind: Literal["secretRef", "configMapRef"]
    name: str
    prefix: str


def variables(spec: Raw) -> tuple[Variable, ...]:
    """`spec.env`."""
    return tuple(
        Variable(name=fields.text(raw, path, "name"), value=_value(raw, path))
        for raw, path in fields.objects(spec, "spec", "env")
    )


def sources(spec: Raw) -> tuple[Source, ...]:
    """`spec.envFrom`."""
    return tuple(_source(raw, path) for raw, path in fields.objects(spec, "spec", "envFrom"))


def _value(raw: Raw, path: str) -> str | Key:
    if "valueFrom" not in raw:
        return fields.text(raw, path, "value")
    path, raw = f"{path}.valueFrom", fields.part(raw, path, "valueFrom")
    kind: Literal["secretKeyRef", "configMapKeyRef"]
    for kind in ("secretKeyRef", "configMapKeyRef"):
        if kind in raw:
            named = fields.part(raw, path, kind)
            path = f"{path}.{kind}"
            return Key(kind=kind, name=fields.text(named, path, "name"), key=fields.text(named, path, "key"))
    raise ShapeError(path, "needs secretKeyRef or configMapKeyRef")


def _source(raw: Raw, path: str) -> Source:
    kind: Literal["secretRef", "configMapRef"]
    for kind in ("secretRef", "configMapRef"):
        if kind in raw:
            name = fields.text(fields.part(raw, path, kind), f"{path}.{kind}", "name")
            return Source(kind=kind, name=name, prefix=fields.optional_text(raw, path, "prefix") or "")
    raise ShapeError(path, "needs secretRef or configMapRef")
