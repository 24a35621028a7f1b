"""Fields of a part of the spec, read by name; a ShapeError names the field by its whole path."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from detectron_operator import shape
from detectron_operator.quantity import parse_quantity
from detectron_operator.shape import MISSING, ShapeError

Raw = Mapping[str, object]

_MAX_TEXT = 65536
_MAX_ITEMS = 64


def part(raw: Raw, path: str, key: str) -> Raw:
    """An object that must be there."""
    return shape.mapping(raw.get(key, MISSING), f"{path}.{key}")


def integer(raw: Raw, path: str, key: str, *, at_least: int, at_most: int) -> int:
    """A whole number within bounds, both included."""
    return shape.integer(raw.get(key, MISSING), f"{path}.{key}", at_least=at_least, at_most=at_most)


def optional_seconds(raw: Raw, path: str, key: str, *, at_most: int) -> timedelta | None:
    """A duration in whole seconds, None where the field is absent."""
    return timedelta(seconds=integer(raw, path, key, at_least=0, at_most=at_most)) if key in raw else None


def boolean(raw: Raw, path: str, key: str) -> bool:
    """true or false."""
    return shape.boolean(raw.get(key, MISSING), f"{path}.{key}")


def quantity(value: object, path: str) -> str:
    """A Kubernetes quantity that is not negative, as written."""
    if value is MISSING:
        raise ShapeError(path, "is missing")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ShapeError(path, f"must be a quantity, not {type(value).__name__}")
    try:
        negative = parse_quantity(value) < 0
    except ValueError as error:
        raise ShapeError(path, str(error)) from error
    if negative:
        raise ShapeError(path, f"is {value}, must not be negative")
    return str(value)


def text(raw: Raw, path: str, key: str) -> str:
    """Text that must be there."""
    return shape.text(raw.get(key, MISSING), f"{path}.{key}", at_most=_MAX_TEXT)


def optional_text(raw: Raw, path: str, key: str) -> str | None:
    """Text, None where the field is absent."""
    return text(raw, path, key) if key in raw else None


def texts(raw: Raw, path: str, key: str) -> tuple[str, ...]:
    """A list of texts; empty where the field is absent."""
    items = shape.sequence(raw.get(key, ()), f"{path}.{key}", at_most=_MAX_ITEMS)
    return tuple(shape.text(item, f"{path}.{key}[{i}]", at_most=_MAX_TEXT) for i, item in enumerate(items))


def integers(raw: Raw, path: str, key: str, *, at_least: int, at_most: int) -> tuple[int, ...]:
    """A list of whole numbers within bounds; empty where the field is absent."""
    items = shape.sequence(raw.get(key, ()), f"{path}.{key}", at_most=_MAX_ITEMS)
    return tuple(
        shape.integer(item, f"{path}.{key}[{i}]", at_least=at_least, at_most=at_most)
        for i, item in enumerate(items)
    )


def text_map(raw: Raw, path: str, key: str) -> dict[str, str]:
    """Texts by name; empty where the field is absent."""
    pairs = shape.mapping(raw.get(key, {}), f"{path}.{key}").items()
    return {name: shape.text(value, f"{path}.{key}[{name}]", at_most=_MAX_TEXT) for name, value in pairs}


def objects(raw: Raw, path: str, key: str) -> list[tuple[Raw, str]]:
    """A list of objects, each with its path; empty where the field is absent."""
    items = shape.sequence(raw.get(key, ()), f"{path}.{key}", at_most=_MAX_ITEMS)
    return [(shape.mapping(item, f"{path}.{key}[{i}]"), f"{path}.{key}[{i}]") for i, item in enumerate(items)]
