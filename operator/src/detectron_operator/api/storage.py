"""Volumes: what a job reads, and where it writes."""

from __future__ import annotations

from dataclasses import dataclass

from detectron_operator import shape
from detectron_operator.api import fields
from detectron_operator.api.fields import Raw
from detectron_operator.shape import ShapeError


@dataclass(frozen=True, kw_only=True)
class Volume:
    """An existing claim, mounted into every pod."""

    name: str
    claim_name: str
    mount_path: str
    sub_path: str | None
    read_only: bool


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where node 0 writes: a folder of a claim, or an emptyDir where `claim_name` is None."""

    claim_name: str | None
    sub_path: str | None


def volumes(spec: Raw) -> tuple[Volume, ...]:
    """`spec.volumes`."""
    return tuple(
        Volume(
            name=fields.text(raw, path, "name"),
            claim_name=fields.text(raw, path, "claimName"),
            mount_path=fields.text(raw, path, "mountPath"),
            sub_path=fields.optional_text(raw, path, "subPath"),
            read_only=fields.boolean(raw, path, "readOnly"),
        )
        for raw, path in fields.objects(spec, "spec", "volumes")
    )


def output(spec: Raw) -> Output:
    """`spec.output`."""
    path = "spec.output"
    raw = fields.part(spec, "spec", "output")
    claim = fields.optional_text(raw, path, "claimName")
    ephemeral = shape.boolean(raw.get("ephemeral", False), f"{path}.ephemeral")
    if (claim is None) != ephemeral:
        raise ShapeError(path, "needs exactly one of claimName and ephemeral")
    return Output(claim_name=claim, sub_path=fields.optional_text(raw, path, "subPath"))
