"""`spec.volumes`, `spec.output` and `spec.checkpoint`: what is read and what is kept."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from detectron_trainer.job.manifest.part import AbsolutePath, Part


class Volume(Part):
    name: str
    claim_name: str
    mount_path: AbsolutePath
    sub_path: str | None = None
    read_only: bool = True


class Output(Part):
    claim_name: str | None = None
    sub_path: str | None = None
    ephemeral: Literal[True] | None = None

    @model_validator(mode="after")
    def _names_one_place(self) -> Self:
        if (self.claim_name is None) == (self.ephemeral is None):
            raise ValueError("needs exactly one of claimName (kept) and ephemeral (lost with the pod)")
        return self


class Best(Part):
    metric: Annotated[str, StringConstraints(pattern=r"^[^/]+/[^/]+/[^/]+$", max_length=128)] | None = None


class CheckpointPolicy(Part):
    keep: Annotated[int, Field(ge=1, le=1000)] = 3
    best: Best | None = None
    grace_period_seconds: Annotated[int, Field(ge=10, le=3600)] = 120
