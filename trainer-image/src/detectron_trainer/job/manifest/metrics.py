"""`spec.metrics`: how often and to whom a run speaks."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from detectron_trainer.job.manifest.part import Part, Reference
from detectron_trainer.job.manifest.trackers import Mlflow, Wandb

ScalarPattern = Annotated[str, Field(min_length=1, max_length=128)]


class MetricsTLS(Part):
    secret_name: Annotated[str, Field(min_length=1, max_length=253)]


class Metrics(Part):
    period: Annotated[int, Field(ge=1, le=10000)] = 20
    scalars: Annotated[tuple[ScalarPattern, ...], Field(max_length=32)] = ()
    categories: Annotated[int, Field(ge=0, le=500)] = 0
    writers: Annotated[tuple[Reference, ...], Field(max_length=8)] = ()
    tls: MetricsTLS | None = None
    wandb: Wandb | None = None
    mlflow: Mlflow | None = None
