"""A folder of things that are slow to make, each named by the hash of what it was made from."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

KEPT_PER_KIND = 2


def root() -> Path:
    """The cache folder: `$XDG_CACHE_HOME/detectron-operator`, else `~/.cache/detectron-operator`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "detectron-operator"


def key(parts: Iterable[str | bytes | Path]) -> str:
    """A 16-digit hash of strings, bytes and files' contents, in order."""
    digest = hashlib.sha256()
    for part in parts:
        content = (
            part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        )
        digest.update(f"{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def tree(*folders: Path, suffixes: tuple[str, ...] = ()) -> list[str | Path]:
    """The parts of `key` that stand for whole folders: every file's path and content, bytecode left out."""
    parts: list[str | Path] = []
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if (
                file.is_file()
                and "__pycache__" not in file.parts
                and (not suffixes or file.suffix in suffixes)
            ):
                parts += [str(file.relative_to(folder.parent)), file]
    return parts


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` as a lock between processes; the kernel lets go of it when the holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def entry(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder `<cache>/<kind>-<key>`; if it is not there, `make` fills an empty one that takes its name.

    A maker that dies leaves only a temporary folder, which the next one removes. Of each kind the last two
    used are kept.
    """
    final = root() / f"{kind}-{key}"
    with locked(root() / "locks" / kind.replace("/", "-")):
        if not final.is_dir():
            final.parent.mkdir(parents=True, exist_ok=True)
            partial = f".partial-{final.parent.joinpath(kind).name}-"
            for stale in final.parent.glob(f"{partial}*"):
                shutil.rmtree(stale)
            with tempfile.TemporaryDirectory(prefix=partial, dir=final.parent) as scratch:
                filling = Path(scratch) / "entry"
                filling.mkdir()
                make(filling)
                filling.rename(final)
        os.utime(final)
        _prune(final, kind)
    return final


def _prune(final: Path, kind: str) -> None:
    name = Path(kind).name
    siblings = [f for f in final.parent.glob(f"{name}-*") if len(f.name) == len(final.name) and f.is_dir()]
    siblings.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
    for old in siblings[KEPT_PER_KIND:]:
        shutil.rmtree(old)
