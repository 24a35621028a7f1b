"""The environment of the training processes."""

from __future__ import annotations

from collections.abc import Mapping

from detectron_operator.api import TrainingJob
from detectron_operator.api.environment import Key, Source, Variable
from detectron_operator.manifests.code import code_folders
from detectron_operator.manifests.torchrun import threads


def variables(job: TrainingJob, ours: Mapping[str, str]) -> list[dict[str, object]]:
    """The defaults, over them the user's variables, over them ours."""
    user = {variable.name: variable for variable in job.spec.env}
    entries = {name: _plain(name, value) for name, value in threads(job).items()}
    entries |= {name: _entry(variable) for name, variable in user.items()}
    entries |= {name: _plain(name, value) for name, value in (_python_path(job, user) | dict(ours)).items()}
    return list(entries.values())


def sources(job: TrainingJob) -> dict[str, object]:
    """`envFrom`, where the job has it; what `variables` names goes before it."""
    found = [_source(source) for source in job.spec.env_from]
    return {"envFrom": found} if found else {}


def _python_path(job: TrainingJob, user: dict[str, Variable]) -> dict[str, str]:
    """PYTHONPATH with the code of ConfigMaps before what the user has in it."""
    own = user.get("PYTHONPATH")
    further = [own.value] if own is not None and isinstance(own.value, str) else []
    folders = [*code_folders(job).values(), *further]
    return {"PYTHONPATH": ":".join(folders)} if job.spec.code else {}


def _plain(name: str, value: str) -> dict[str, object]:
    return {"name": name, "value": value}


def _entry(variable: Variable) -> dict[str, object]:
    if isinstance(variable.value, Key):
        reference = {"name": variable.value.name, "key": variable.value.key}
        return {"name": variable.name, "valueFrom": {variable.value.kind: reference}}
    return _plain(variable.name, variable.value)


def _source(source: Source) -> dict[str, object]:
    prefix = {"prefix": source.prefix} if source.prefix else {}
    return {source.kind: {"name": source.name}, **prefix}
