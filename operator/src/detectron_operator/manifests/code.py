"""The user's modules from ConfigMaps, each in a folder of its own on PYTHONPATH."""

from __future__ import annotations

from detectron_operator.api import TrainingJob

CODE_PATH = "/opt/detectron/code"


def code_folders(job: TrainingJob) -> dict[str, str]:
    """Where the pods find the modules, by ConfigMap, in the order of the manifest."""
    return {name: f"{CODE_PATH}/{name}" for name in job.spec.code}


def code_mounts(job: TrainingJob) -> list[dict[str, object]]:
    """One a ConfigMap."""
    folders = enumerate(code_folders(job).values())
    return [{"name": f"code-{i}", "mountPath": folder, "readOnly": True} for i, folder in folders]


def code_volumes(job: TrainingJob) -> list[dict[str, object]]:
    """One a ConfigMap; by its number, since its name may be too long for a volume's."""
    return [{"name": f"code-{i}", "configMap": {"name": name}} for i, name in enumerate(job.spec.code)]
