"""`spec.metrics.wandb` and `spec.metrics.mlflow`: experiment trackers that a run writes to."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from detectron_trainer.job.manifest.part import Part

Name = Annotated[str, Field(min_length=1, max_length=128)]


class Wandb(Part):
    project: Name
    entity: Name | None = None
    mode: Literal["online", "offline"] = "online"


class Mlflow(Part):
    tracking_uri: Annotated[str, StringConstraints(pattern=r"^https?://.+$", max_length=1024)]
    experiment: Name
