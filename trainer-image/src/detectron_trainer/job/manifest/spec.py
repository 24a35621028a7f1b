"""A whole DetectronTrainingJob: its spec is the sum of the parts beside this module."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from detectron_trainer.job.manifest.config import Config
from detectron_trainer.job.manifest.datasets import Dataset
from detectron_trainer.job.manifest.elastic_policy import ElasticPolicy
from detectron_trainer.job.manifest.environment import EnvironmentSource, EnvironmentVariable
from detectron_trainer.job.manifest.evaluation import EvaluationOptions
from detectron_trainer.job.manifest.metrics import Metrics
from detectron_trainer.job.manifest.part import ClusterName, ModuleName, Part, Reference
from detectron_trainer.job.manifest.placement import Colocation, NodeAffinity, Spread
from detectron_trainer.job.manifest.resources import Preflight, Resources
from detectron_trainer.job.manifest.run_policy import RunPolicy
from detectron_trainer.job.manifest.storage import CheckpointPolicy, Code, Output, Volume
from detectron_trainer.job.manifest.training import TrainingOptions
from detectron_trainer.job.manifest.weights import Weights


class Spec(Part):
    """What to train and with what. `image` and the placement fields are the cluster's business."""

    config: Config
    output: Output
    datasets: Annotated[tuple[Dataset, ...], Field(max_length=32)] = ()
    weights: Weights | None = None
    plugins: Annotated[tuple[ModuleName, ...], Field(max_length=32)] = ()
    trainer: Reference | None = None
    mapper: Reference | None = None
    volumes: Annotated[tuple[Volume, ...], Field(max_length=16)] = ()
    checkpoint: CheckpointPolicy = CheckpointPolicy()
    metrics: Metrics = Metrics()
    training: TrainingOptions = TrainingOptions()
    evaluation: EvaluationOptions = EvaluationOptions()
    code: Annotated[tuple[Code, ...], Field(max_length=8)] = ()
    env: Annotated[tuple[EnvironmentVariable, ...], Field(max_length=64)] = ()
    env_from: Annotated[tuple[EnvironmentSource, ...], Field(max_length=16)] = ()
    num_nodes: Annotated[int, Field(ge=1, le=512)] = 1
    elastic_policy: ElasticPolicy = ElasticPolicy()
    num_proc_per_node: Annotated[int, Field(ge=1, le=64)] | None = None
    resources_per_node: Resources = Resources()
    preflight: Preflight = Preflight()
    run_policy: RunPolicy = RunPolicy()
    image: str | None = None
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[dict[str, JsonValue], ...] = ()
    node_affinity: NodeAffinity | None = None
    topology_spread: Annotated[tuple[Spread, ...], Field(max_length=4)] | None = None
    colocation: Colocation | None = None
    priority_class_name: ClusterName | None = None
    runtime_class_name: ClusterName | None = None
    service_account_name: ClusterName | None = None

    @model_validator(mode="after")
    def _has_the_data_it_needs_under_distinct_names(self) -> Self:
        wanted = "test" if self.evaluation.only else "train"
        if self.datasets and all(dataset.split != wanted for dataset in self.datasets):
            raise ValueError(f"datasets needs at least one with split {wanted}")
        names = [dataset.name for dataset in self.datasets]
        if len(set(names)) < len(names):
            raise ValueError("datasets must have distinct names")
        return self

    @model_validator(mode="after")
    def _has_as_many_nodes_as_its_elastic_policy_allows(self) -> Self:
        if self.num_nodes not in self.elastic_policy.sizes(self.num_nodes):
            raise ValueError("numNodes must lie within elasticPolicy.minNodes and maxNodes")
        return self

    @property
    def processes_per_node(self) -> int:
        """As the operator counts: `numProcPerNode`, else one for each GPU of the limits, else one."""
        return self.num_proc_per_node or self.resources_per_node.gpus or 1


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
