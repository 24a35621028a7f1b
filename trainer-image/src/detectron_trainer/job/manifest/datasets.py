"""`spec.datasets`: COCO annotations and images, and what their keypoints are."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from detectron_trainer.job.manifest.part import AbsolutePath, Part

DatasetName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=63)
]
Sigma = Annotated[float, Field(ge=0.0001, le=1)]


class Keypoints(Part):
    """Names, mirrored pairs of names, and OKS sigmas (one a name) of a dataset's keypoints."""

    names: Annotated[tuple[str, ...], Field(max_length=256)]
    flip_map: tuple[tuple[str, str], ...] = ()
    sigmas: tuple[Sigma, ...]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.names or len(self.names) != len(self.sigmas):
            raise ValueError("names and sigmas must be equally long and not empty")
        strangers = {name for pair in self.flip_map for name in pair} - set(self.names)
        if strangers:
            raise ValueError(f"flipMap names {', '.join(sorted(strangers))}, which names does not hold")
        return self


class Dataset(Part):
    name: DatasetName
    split: Literal["train", "test"]
    annotations: AbsolutePath
    images: AbsolutePath
    keypoints: Keypoints | None = None
