"""Files that appear whole or not at all, whenever the process or the machine dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from detectron_trainer.failures import OutputNotWritableError


@contextmanager
def replaced_atomically(path: Path, mode: str) -> Iterator[IO[Any]]:
    """Open a new file that takes the place of `path` once it is on the disk; an error leaves `path` alone.

    Raises:
        OutputNotWritableError: it cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open(mode) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OutputNotWritableError(path.parent, error) from error
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
