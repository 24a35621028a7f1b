"""`spec.config`: what to train, in Detectron2's own words."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from detectron_trainer.job.manifest.part import Part

Override = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)* +\S")]


class Config(Part):
    base: Annotated[str, Field(min_length=1, max_length=512)]
    inline: str = ""
    overrides: tuple[Override, ...] = ()
