"""Where the pods may run: the cluster's business, judged here so that a laptop refuses what it would."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from detectron_trainer.job.manifest.part import Part

NodeLabel = Annotated[
    str,
    StringConstraints(
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$",
        max_length=316,
    ),
]
LabelValue = Annotated[
    str, StringConstraints(pattern=r"^([-A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)
]


class NodeRule(Part):
    key: NodeLabel
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: Annotated[tuple[LabelValue, ...], Field(max_length=64)] = ()

    @model_validator(mode="after")
    def _has_the_values_of_its_operator(self) -> Self:
        number = len(self.values) == 1 and self.values[0].removeprefix("-").isdecimal()
        needed = {"In": bool(self.values), "NotIn": bool(self.values), "Gt": number, "Lt": number}
        if not needed.get(self.operator, not self.values):
            raise ValueError(
                "values go with operator In and NotIn; Gt and Lt take one, a whole number; Exists and "
                "DoesNotExist none"
            )
        return self


class WeightedNodeRule(NodeRule):
    weight: Annotated[int, Field(ge=1, le=100)] = 1


class NodeAffinity(Part):
    required: Annotated[tuple[NodeRule, ...], Field(max_length=16)] = ()
    preferred: Annotated[tuple[WeightedNodeRule, ...], Field(max_length=16)] = ()


class Spread(Part):
    topology_key: NodeLabel
    max_skew: Annotated[int, Field(ge=1, le=512)] = 1
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = "DoNotSchedule"


class Colocation(Part):
    topology_key: NodeLabel
    required: bool = True
