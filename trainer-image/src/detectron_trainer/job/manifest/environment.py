"""`spec.env` and `spec.envFrom`: variables of the training processes, or where a cluster keeps them."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import StringConstraints, model_validator

from detectron_trainer.job.manifest.part import ClusterName, Part

ObjectKey = Annotated[str, StringConstraints(pattern=r"^[-._A-Za-z0-9]+$", max_length=253)]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)]


class Key(Part):
    name: ClusterName
    key: ObjectKey


class ValueSource(Part):
    secret_key_ref: Key | None = None
    config_map_key_ref: Key | None = None

    @model_validator(mode="after")
    def _names_one_object(self) -> Self:
        if (self.secret_key_ref is None) == (self.config_map_key_ref is None):
            raise ValueError("needs exactly one of secretKeyRef and configMapKeyRef")
        return self

    def __str__(self) -> str:
        if self.secret_key_ref:
            return f"key {self.secret_key_ref.key} of Secret {self.secret_key_ref.name}"
        assert self.config_map_key_ref is not None
        return f"key {self.config_map_key_ref.key} of ConfigMap {self.config_map_key_ref.name}"


class EnvironmentVariable(Part):
    name: VariableName
    value: str | None = None
    value_from: ValueSource | None = None

    @model_validator(mode="after")
    def _has_one_value(self) -> Self:
        if (self.value is None) == (self.value_from is None):
            raise ValueError("needs exactly one of value and valueFrom")
        if self.name == "PYTHONPATH" and self.value is None:
            raise ValueError("PYTHONPATH needs a value, to which the folders of spec.code are added")
        return self


class ObjectName(Part):
    name: ClusterName


class EnvironmentSource(Part):
    secret_ref: ObjectName | None = None
    config_map_ref: ObjectName | None = None
    prefix: VariableName | None = None

    @model_validator(mode="after")
    def _names_one_object(self) -> Self:
        if (self.secret_ref is None) == (self.config_map_ref is None):
            raise ValueError("needs exactly one of secretRef and configMapRef")
        return self

    def __str__(self) -> str:
        if self.secret_ref:
            return f"Secret {self.secret_ref.name}"
        assert self.config_map_ref is not None
        return f"ConfigMap {self.config_map_ref.name}"
