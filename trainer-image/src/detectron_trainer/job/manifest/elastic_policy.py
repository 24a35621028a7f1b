"""`spec.elasticPolicy`: how a gang lives on when it loses a process or a pod."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from detectron_trainer.job.manifest.part import Part


class ElasticPolicy(Part):
    min_nodes: Annotated[int, Field(ge=1, le=512)] | None = None
    max_nodes: Annotated[int, Field(ge=1, le=512)] | None = None
    max_restarts: Annotated[int, Field(ge=0, le=100)] = 3

    @model_validator(mode="after")
    def _has_both_bounds_or_none(self) -> Self:
        if (self.min_nodes is None) != (self.max_nodes is None):
            raise ValueError("needs both of minNodes and maxNodes, or none")
        return self

    def sizes(self, num_nodes: int) -> range:
        """With how many pods the gang may train."""
        if self.min_nodes is None or self.max_nodes is None:
            return range(num_nodes, num_nodes + 1)
        return range(self.min_nodes, self.max_nodes + 1)
