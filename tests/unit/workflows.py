"""The workflows of .github, as they are read by the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / ".github" / "workflows"


def workflows() -> dict[str, Any]:
    """All of them by name."""
    return {file.stem: yaml.safe_load(file.read_text()) for file in sorted(FOLDER.glob("*.yml"))}


def jobs() -> Iterator[tuple[str, Any]]:
    """All jobs as (workflow/job, job)."""
    for name, workflow in workflows().items():
        for job, body in workflow["jobs"].items():
            yield f"{name}/{job}", body


def steps() -> Iterator[tuple[str, Any]]:
    """All steps as (workflow/job, step)."""
    for name, job in jobs():
        for step in job.get("steps", ()):
            yield name, step


def script(workflow: str, job: str, step: str) -> str:
    """The shell script of the step with this name."""
    (found,) = (
        item["run"] for item in workflows()[workflow]["jobs"][job]["steps"] if item.get("name") == step
    )
    return str(found)
