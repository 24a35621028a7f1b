"""From a file to a `Job`, or to every problem that it has, each with its path in the manifest."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import get_args

import yaml
from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from detectron_trainer.failures import InvalidConfigError, Problem
from detectron_trainer.job.manifest.part import Part
from detectron_trainer.job.manifest.spec import Job


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
        message = f"must hold one DetectronTrainingJob, not {type(document).__name__}"
        raise InvalidConfigError([Problem(source, message)])
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
    part: type[Part] = Job
    for step in location:
        if isinstance(step, str):
            fields = {to_camel(name): field.annotation for name, field in part.model_fields.items()}
            part = _part_in(fields[step]) or part
    return [to_camel(name) for name in part.model_fields]


def _part_in(annotation: object) -> type[Part] | None:
    """The part that a field of type `annotation`, such as ``tuple[Dataset, ...] | None``, is made of."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    return next(filter(None, map(_part_in, get_args(annotation))), None)


def _suggestion(name: str, known: list[str]) -> str:
    closest = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {closest[0]}?" if closest else ""
