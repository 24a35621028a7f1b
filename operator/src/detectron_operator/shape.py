"""Typed reading of JSON documents: what is not of the expected type is an error that names its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

MISSING = object()


class ShapeError(ValueError):
    """A value is absent, of the wrong type or out of bounds."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


def mapping(value: object, path: str) -> Mapping[str, object]:
    """An object with text keys."""
    if not isinstance(value, Mapping):
        raise ShapeError(path, _expected("an object", value))
    return value


def sequence(value: object, path: str, *, at_most: int) -> Sequence[object]:
    """A list of bounded length."""
    if not isinstance(value, list | tuple):
        raise ShapeError(path, _expected("a list", value))
    if len(value) > at_most:
        raise ShapeError(path, f"has {len(value)} items, at most {at_most} are allowed")
    return value


def text(value: object, path: str, *, at_most: int) -> str:
    """Text of bounded length."""
    if not isinstance(value, str):
        raise ShapeError(path, _expected("text", value))
    if len(value) > at_most:
        raise ShapeError(path, f"is {len(value)} characters long, at most {at_most} are allowed")
    return value


def integer(value: object, path: str, *, at_least: int, at_most: int) -> int:
    """A whole number within bounds, both included."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ShapeError(path, _expected("a whole number", value))
    if not at_least <= value <= at_most:
        raise ShapeError(path, f"is {value}, must lie in {at_least}..{at_most}")
    return value


def boolean(value: object, path: str) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise ShapeError(path, _expected("true or false", value))
    return value


def time(value: object, path: str) -> datetime:
    """RFC 3339 text with an offset, as UTC."""
    written = text(value, path, at_most=64)
    try:
        parsed = datetime.fromisoformat(written)
        if parsed.tzinfo is None:
            raise ShapeError(path, f"{written!r} has no offset from UTC")
        return parsed.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ShapeError(path, f"{written!r} is not a time") from error


def _expected(what: str, value: object) -> str:
    if value is MISSING or value is None:
        return "is missing"
    return f"must be {what}, not {type(value).__name__}"
