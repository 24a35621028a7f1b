"""JSON merge patches (RFC 7386)."""

from __future__ import annotations

from collections.abc import Mapping


def merge_patch(old: Mapping[str, object], new: Mapping[str, object]) -> dict[str, object]:
    """The patch that turns `old` into `new`; empty if they are equal. Values of `new` must not be None."""
    patch: dict[str, object] = {name: None for name in old if name not in new}
    for name, value in new.items():
        before = old.get(name)
        if before == value:
            continue
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            patch[name] = merge_patch(before, value)
        else:
            patch[name] = value
    return patch
