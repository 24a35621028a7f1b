"""`spec.elasticPolicy`: how a gang lives on when it loses a process or a pod."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from detectron_trainer.job.manifest.part import Part


class ElasticPolicy(Part):
    max_restarts: Annotated[int, Field(ge=0, le=100)] = 3
