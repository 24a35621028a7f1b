"""`spec.training`: what our loop does beyond Detectron2's own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.alias_generators import to_camel

from detectron_trainer.job.manifest.part import Part

Precision = Literal["float32", "bfloat16", "float16"]


class NonFiniteLoss(Part):
    rollbacks: Annotated[int, Field(ge=1, le=100)]
    learning_rate_factor: Annotated[float, Field(gt=0, le=1)] = 0.5


class ExponentialMovingAverage(Part):
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.9998


class EarlyStopping(Part):
    patience: Annotated[int, Field(ge=1, le=1000)]


class Profile(Part):
    start_iteration: Annotated[int, Field(ge=0, le=1000000000)] = 10
    iterations: Annotated[int, Field(ge=1, le=100)] = 5


class TrainingOptions(Part):
    max_unreadable_images: Annotated[int, Field(ge=0, le=1000000)] = 0
    non_finite_loss: NonFiniteLoss | None = None
    gradient_accumulation: Annotated[int, Field(ge=1, le=1024)] = 1
    max_gradient_norm: Annotated[float, Field(gt=0, le=1000000)] | None = None
    precision: Precision | None = None
    channels_last: bool = False
    fold_frozen_batch_norm: bool = False
    compile_backbone: bool = False
    profile: Profile | None = None
    ema: ExponentialMovingAverage | None = None
    early_stopping: EarlyStopping | None = None

    def asked_for(self) -> list[str]:
        """The fields that are not as they are by default."""
        default = TrainingOptions()
        fields = TrainingOptions.model_fields
        return [to_camel(name) for name in fields if getattr(self, name) != getattr(default, name)]
