"""Which images of a dataset are not on its volume, found without asking for each over a slow network."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SECONDS = 60.0
"""For one dataset; a local disk or an NFS server lists 100,000 files in one or a few."""
_LISTED_FROM = 100
"""A folder of which more images are wanted is listed; of fewer each is asked for."""
_ENTRIES_A_LOOK = 1000
"""Directory entries between two looks at the clock."""


@dataclass(frozen=True)
class Search:
    """How many images were looked for before the time was up, and those that are missing."""

    sought: int
    missing: tuple[str, ...]


def find_missing(
    folder: Path,
    names: Iterable[str],
    *,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Search:
    """Look for `names`, paths relative to `folder`, for at most `seconds`.

    Raises:
        OSError: a folder is there and cannot be listed.
    """
    wanted: dict[str, list[str]] = defaultdict(list)
    for name in names:
        wanted[os.path.dirname(name)].append(name)
    deadline = clock() + seconds
    sought = 0
    missing: list[str] = []
    for parent, group in wanted.items():
        if len(group) > _LISTED_FROM:
            found = _listed(folder / parent, lambda: clock() < deadline)
            if found is None:
                return Search(sought, tuple(missing))
            sought += len(group)
            missing += [name for name in group if os.path.basename(name) not in found]
            continue
        for name in group:
            if clock() >= deadline:
                return Search(sought, tuple(missing))
            sought += 1
            if not (folder / name).exists():
                missing.append(name)
    return Search(sought, tuple(missing))


def _listed(folder: Path, in_time: Callable[[], bool]) -> frozenset[str] | None:
    """The names in `folder`, none where it does not exist; None where the time was up first."""
    try:
        with os.scandir(folder) as entries:
            names = list(_while(entries, in_time))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    return frozenset(names) if in_time() else None


def _while(entries: Iterable[os.DirEntry[str]], in_time: Callable[[], bool]) -> Iterator[str]:
    for number, entry in enumerate(entries):
        if number % _ENTRIES_A_LOOK == 0 and not in_time():
            return
        yield entry.name
