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
class NewClaim:
    """A claim to make for the output; unless it is `retained` it goes with the job."""

    size: str
    storage_class: str | None
    access_modes: tuple[str, ...]
    retained: bool


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where node 0 writes: a folder of an existing claim or of a new one, or else an emptyDir."""

    claim_name: str | None
    new_claim: NewClaim | None
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
    new = _new_claim(raw, path)
    ephemeral = shape.boolean(raw.get("ephemeral", False), f"{path}.ephemeral")
    if (claim is not None) + (new is not None) + ephemeral != 1:
        raise ShapeError(path, "needs exactly one of claimName, claim and ephemeral")
    return Output(claim_name=claim, new_claim=new, sub_path=fields.optional_text(raw, path, "subPath"))


def _new_claim(output: Raw, path: str) -> NewClaim | None:
    if "claim" not in output:
        return None
    raw, path = fields.part(output, path, "claim"), f"{path}.claim"
    return NewClaim(
        size=fields.quantity(raw.get("size", shape.MISSING), f"{path}.size"),
        storage_class=fields.optional_text(raw, path, "storageClassName"),
        access_modes=fields.texts(raw, path, "accessModes"),
        retained=fields.text(raw, path, "whenDeleted") == "Retain",
    )
