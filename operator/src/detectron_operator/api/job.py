"""A DetectronTrainingJob, from its raw object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from detectron_operator import names, shape
from detectron_operator.api import fields
from detectron_operator.api.fields import Raw
from detectron_operator.api.spec import Spec, spec
from detectron_operator.shape import MISSING, ShapeError


class SpecError(ValueError):
    """A job that cannot be honoured as it is written: the field at fault and what to change."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """A DetectronTrainingJob; `status` is as stored, empty at first."""

    namespace: str
    name: str
    uid: str
    generation: int
    deleting: bool
    created: datetime
    spec: Spec
    status: Mapping[str, object]


def parse(raw: Raw) -> TrainingJob:
    """A job from its raw object; SpecError names the field that cannot be honoured."""
    try:
        metadata = shape.mapping(raw.get("metadata", MISSING), "metadata")
        name = shape.text(metadata.get("name", MISSING), "metadata.name", at_most=253)
        if not names.is_job_name(name):
            raise ShapeError(
                "metadata.name", f"cannot name pods: at most {names.MAX_JOB_NAME} of a-z, 0-9 and '-'"
            )
        return TrainingJob(
            namespace=shape.text(metadata.get("namespace", MISSING), "metadata.namespace", at_most=63),
            name=name,
            uid=shape.text(metadata.get("uid", MISSING), "metadata.uid", at_most=128),
            generation=fields.integer(metadata, "metadata", "generation", at_least=0, at_most=2**63 - 1),
            deleting=metadata.get("deletionTimestamp") is not None,
            created=shape.time(metadata.get("creationTimestamp", MISSING), "metadata.creationTimestamp"),
            spec=spec(shape.mapping(raw.get("spec", MISSING), "spec")),
            status=shape.mapping(raw.get("status") or {}, "status"),
        )
    except ShapeError as error:
        raise SpecError(error.path, error.message) from error
