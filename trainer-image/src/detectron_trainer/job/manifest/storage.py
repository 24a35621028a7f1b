"""`spec.volumes`, `spec.output` and `spec.checkpoint`: what is read and what is kept."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from detectron_trainer.job.manifest.part import AbsolutePath, ClusterName, Part


class Volume(Part):
    name: str
    claim_name: str
    mount_path: AbsolutePath
    sub_path: str | None = None
    read_only: bool = True


class NewClaim(Part):
    size: int | str
    storage_class_name: ClusterName | None = None
    access_modes: Annotated[
        tuple[Literal["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"], ...],
        Field(min_length=1, max_length=3),
    ] = ("ReadWriteOnce",)
    when_deleted: Literal["Retain", "Delete"] = "Retain"


class Code(Part):
    config_map_name: ClusterName

    @property
    def folder(self) -> str:
        """Where pods find the modules."""
        return f"/opt/detectron/code/{self.config_map_name}"


class Output(Part):
    claim_name: str | None = None
    claim: NewClaim | None = None
    sub_path: str | None = None
    ephemeral: Literal[True] | None = None

    @model_validator(mode="after")
    def _names_one_place(self) -> Self:
        if sum(each is not None for each in (self.claim_name, self.claim, self.ephemeral)) != 1:
            raise ValueError(
                "needs exactly one of claimName (an existing claim), claim (a new one) and ephemeral (lost"
                " with the pod)"
            )
        return self


class Best(Part):
    metric: Annotated[str, StringConstraints(pattern=r"^[^/]+/[^/]+/[^/]+$", max_length=128)] | None = None


class CheckpointPolicy(Part):
    keep: Annotated[int, Field(ge=1, le=1000)] = 3
    best: Best | None = None
    asynchronous: bool = False
    grace_period_seconds: Annotated[int, Field(ge=10, le=3600)] = 120
