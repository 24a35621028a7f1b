"""The user's own functions and classes, named in the manifest as ``module:name``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import reduce
from typing import TypeVar, cast

from detectron_trainer.failures import InvalidConfigError, Problem

T = TypeVar("T")


def load(reference: str) -> object:
    """Import what ``module:name`` names; `name` may be dotted.

    Raises:
        ImportError: there is no such module, or nothing of that name in it.
        Exception: whatever the module raises while it is imported.
    """
    module, _, name = reference.partition(":")
    try:
        return reduce(getattr, name.split("."), importlib.import_module(module))
    except AttributeError as error:
        raise ImportError(f"{module} has no {name}: {error}") from error


def judge(reference: str, where: str) -> list[Problem]:
    """What keeps `reference`, which the manifest has at `where`, from being called."""
    try:
        named = load(reference)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's code may raise anything
        return [Problem(where, f"{reference} cannot be imported: {type(error).__name__}: {error}")]
    return [] if callable(named) else [Problem(where, f"{reference} is no function or class")]


def call(reference: str, kind: type[T], *arguments: object) -> T:
    """What the function or class that `reference` names makes of `arguments`.

    Raises:
        InvalidConfigError: it makes something else than a `kind`.
    """
    made = cast(Callable[..., object], load(reference))(*arguments)
    if not isinstance(made, kind):
        message = f"returned a {type(made).__name__} instead of a {kind.__name__}"
        raise InvalidConfigError([Problem(reference, message)])
    return made
