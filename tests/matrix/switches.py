"""The switches of a chart, as its values' schema names them, and which of them a set of values flips."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Values = Mapping[str, Any]


def switches(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Every value by its dotted path, with all that it may be where it is a boolean or an enumeration.

    A list is one value, and so is a map whose names are up to the user.
    """
    for name, value in schema["properties"].items():
        where = f"{path}{name}"
        if "properties" in value:
            yield from switches(value, f"{where}.")
        else:
            yield where, (True, False) if value.get("type") == "boolean" else tuple(value.get("enum", ()))


def at(values: Values, path: str) -> Any:
    """The value at a dotted path, None where there is none."""
    found: Any = values
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def flipped(schema: Mapping[str, Any], defaults: Values, values: Values) -> list[str]:
    """What `values` set otherwise than the defaults: `path=value`, of lists and maps the path alone."""
    return [
        f"{path}={_text(at(values, path))}" if isinstance(at(values, path), str | int | float) else path
        for path, _ in switches(schema)
        if at(values, path) not in (None, at(defaults, path))
    ]


def left_out(schema: Mapping[str, Any], defaults: Values, variants: Iterable[Values]) -> set[str]:
    """What no variant tries: `path=choice` of a boolean or an enumeration, the path of anything else."""
    tried = [*variants]
    missing = set()
    for path, choices in switches(schema):
        default = at(defaults, path)
        taken = [default if at(values, path) is None else at(values, path) for values in tried]
        missing |= {f"{path}={_text(choice)}" for choice in choices if choice not in taken}
        if not choices and all(value == default for value in taken):
            missing.add(path)
    return missing


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
