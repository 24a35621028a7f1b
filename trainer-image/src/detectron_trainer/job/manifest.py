"""A DetectronTrainingJob as the trainer reads it: typed, with the API server's defaults, every problem named.

In a pod the API server has already judged the manifest; on a laptop this module stands in for it. The schema
is ``crds/detectrontrainingjobs.yaml``.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from detectron_trainer.failures import InvalidConfigError, Problem

API_VERSION = "detectron.dev/v1alpha1"
KIND = "DetectronTrainingJob"

AbsolutePath = Annotated[str, StringConstraints(pattern=r"^/.+$", max_length=1024)]
Override = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)* +\S")]
ModuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$")]
Reference = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:"
        r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$",
        max_length=256,
    ),
]
"""A function or class of the user's as ``module:name``."""
DatasetName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=63)
]
ScalarPattern = Annotated[str, Field(min_length=1, max_length=128)]
Precision = Literal["float32", "bfloat16", "float16"]
Sigma = Annotated[float, Field(ge=0.0001, le=1)]


class Part(BaseModel):
    """A part of the manifest: immutable, without unknown fields, camelCase in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, strict=True)


class Config(Part):
    base: Annotated[str, Field(min_length=1, max_length=512)]
    inline: str = ""
    overrides: tuple[Override, ...] = ()


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


class NonFiniteLoss(Part):
    rollbacks: Annotated[int, Field(ge=1, le=100)]
    learning_rate_factor: Annotated[float, Field(gt=0, le=1)] = 0.5


class ExponentialMovingAverage(Part):
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.9998


class EarlyStopping(Part):
    patience: Annotated[int, Field(ge=1, le=1000)]


class TrainingOptions(Part):
    max_unreadable_images: Annotated[int, Field(ge=0, le=1000000)] = 0
    non_finite_loss: NonFiniteLoss | None = None
    gradient_accumulation: Annotated[int, Field(ge=1, le=1024)] = 1
    max_gradient_norm: Annotated[float, Field(gt=0, le=1000000)] | None = None
    precision: Precision | None = None
    channels_last: bool = False
    ema: ExponentialMovingAverage | None = None
    early_stopping: EarlyStopping | None = None

    def asked_for(self) -> list[str]:
        """The fields that are not as they are by default."""
        default = TrainingOptions()
        fields = TrainingOptions.model_fields
        return [to_camel(name) for name in fields if getattr(self, name) != getattr(default, name)]


class Metrics(Part):
    period: Annotated[int, Field(ge=1, le=10000)] = 20
    scalars: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=128)], ...], Field(max_length=32)
    ] = ()
    writers: Annotated[tuple[Reference, ...], Field(max_length=8)] = ()


class EnvironmentVariable(Part):
    name: str
    value: str


class Resources(Part):
    requests: dict[str, int | str] = {}
    limits: dict[str, int | str] = {}


class RunPolicy(Part):
    suspend: bool = False
    backoff_limit: Annotated[int, Field(ge=0, le=1000)] = 3


class Spec(Part):
    """What to train and with what. `image` and the placement fields are the cluster's business."""

    config: Config
    output: Output
    datasets: Annotated[tuple[Dataset, ...], Field(max_length=32)] = ()
    weights: Annotated[str, Field(max_length=1024)] | None = None
    plugins: Annotated[tuple[ModuleName, ...], Field(max_length=32)] = ()
    trainer: Reference | None = None
    mapper: Reference | None = None
    volumes: Annotated[tuple[Volume, ...], Field(max_length=16)] = ()
    checkpoint: CheckpointPolicy = CheckpointPolicy()
    metrics: Metrics = Metrics()
    training: TrainingOptions = TrainingOptions()
    env: Annotated[tuple[EnvironmentVariable, ...], Field(max_length=64)] = ()
    num_nodes: Annotated[int, Field(ge=1, le=512)] = 1
    num_proc_per_node: Annotated[int, Field(ge=1, le=64)] | None = None
    resources_per_node: Resources = Resources()
    run_policy: RunPolicy = RunPolicy()
    image: str | None = None
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    node_selector: dict[str, str] = {}
    tolerations: tuple[dict[str, JsonValue], ...] = ()

    @model_validator(mode="after")
    def _has_training_data_under_distinct_names(self) -> Self:
        if self.datasets and all(dataset.split != "train" for dataset in self.datasets):
            raise ValueError("datasets needs at least one with split train")
        names = [dataset.name for dataset in self.datasets]
        if len(set(names)) < len(names):
            raise ValueError("datasets must have distinct names")
        return self

    @property
    def processes_per_node(self) -> int:
        """As the operator counts: `numProcPerNode`, else one for each GPU of the limits, else one."""
        if self.num_proc_per_node is not None:
            return self.num_proc_per_node
        gpus = sum(
            int(count) for name, count in self.resources_per_node.limits.items() if name.endswith("/gpu")
        )
        return max(1, gpus)


class Metadata(BaseModel):
    """Of the object's metadata only what the trainer names things by; the rest passes."""

    model_config = ConfigDict(frozen=True, strict=True)
    name: Annotated[str, Field(min_length=1)]
    namespace: str = "default"


class Job(Part):
    api_version: Literal["detectron.dev/v1alpha1"]
    kind: Literal["DetectronTrainingJob"]
    metadata: Metadata
    spec: Spec
    status: JsonValue = None


def read_job(path: Path) -> Job:
    """Read a manifest from a JSON or YAML file.

    Raises:
        InvalidConfigError: the file cannot be read, or the manifest is not valid; names every problem.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfigError([Problem(str(path), f"cannot be read: {error}")]) from error
    return parse_job(text, source=str(path))


def parse_job(text: str, source: str = "manifest") -> Job:
    """Parse a manifest, JSON or YAML; `source` names it in errors.

    Raises:
        InvalidConfigError: names every problem by its path, such as ``spec.datasets[0].split``.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidConfigError([Problem(source, f"is neither JSON nor YAML: {error}")]) from error
    if not isinstance(document, dict):
        raise InvalidConfigError([Problem(source, f"must hold one {KIND}, not {type(document).__name__}")])
    try:
        # By way of JSON, whose arrays strict validation takes for tuples.
        return Job.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        raise InvalidConfigError(_problems(error)) from error


def _problems(error: ValidationError) -> list[Problem]:
    problems = []
    for detail in error.errors(include_url=False):
        location = detail["loc"]
        message = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            message = "unknown field" + _suggestion(str(location[-1]), _siblings(location[:-1]))
        elif detail["type"] == "missing":
            message = "is required"
        elif not isinstance(detail["input"], dict | list):
            message += f", not {detail['input']!r}"
        problems.append(Problem(_dotted(location), message))
    return problems


def _dotted(location: tuple[str | int, ...]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).removeprefix(".") or "manifest"


def _siblings(location: tuple[str | int, ...]) -> list[str]:
    """The fields that the part at `location` may have."""
    parts: dict[str, type[Part]] = {
        "spec": Spec, "config": Config, "datasets": Dataset, "keypoints": Keypoints, "volumes": Volume,
        "output": Output, "checkpoint": CheckpointPolicy, "best": Best, "metrics": Metrics,
        "training": TrainingOptions, "nonFiniteLoss": NonFiniteLoss, "ema": ExponentialMovingAverage,
        "earlyStopping": EarlyStopping,
        "env": EnvironmentVariable, "resourcesPerNode": Resources, "runPolicy": RunPolicy,
    }  # fmt: skip
    names = [step for step in location if isinstance(step, str)]
    part = parts[names[-1]] if names else Job
    return [to_camel(name) for name in part.model_fields]


def _suggestion(name: str, known: list[str]) -> str:
    closest = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {closest[0]}?" if closest else ""
