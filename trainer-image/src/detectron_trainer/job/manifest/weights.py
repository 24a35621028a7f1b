"""`spec.weights`: what the model starts from."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from detectron_trainer.job.manifest.part import Part


class Weights(Part):
    source: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    random: Literal[True] | None = None

    @model_validator(mode="after")
    def _names_one_beginning(self) -> Self:
        if (self.source is None) == (self.random is None):
            raise ValueError("needs exactly one of source (a file) and random (from scratch)")
        if self.sha256 is not None and self.source is None:
            raise ValueError("sha256 goes with source")
        return self
