"""metrics.json over several lives of a run, and the values that its smoothing needs from the life before."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.utils.events import EventStorage

from detectron_trainer.atomic_file import replaced_atomically

WINDOW = 20
"""Iterations that Detectron2's writers smooth over."""
_OF_THIS_PROCESS = ("time", "data_time")

_logger = logging.getLogger(__name__)


def drop_rows_from(path: Path, iteration: int) -> None:
    """Drop the rows of `path` from `iteration` on, which are trained again next, and unreadable ones."""
    if not path.is_file():
        return
    lines = path.read_text(errors="replace").splitlines()
    kept = [line for line in lines if _iteration(line, path) < iteration]
    if kept != lines:
        with replaced_atomically(path, "w") as file:
            file.writelines(f"{line}\n" for line in kept)


def _iteration(line: str, path: Path) -> float:
    try:
        return int(json.loads(line)["iteration"])
    except (ValueError, KeyError, TypeError):
        # The last row of a process that was killed may be cut short.
        _logger.warning("%s: dropped a row that is cut short", path)
        return float("inf")


def recent_values(storage: EventStorage) -> dict[str, dict[str, object]]:
    """The last `WINDOW` values of each scalar that was put at this iteration, in types for a checkpoint.

    Durations are left out: they say nothing of another process.
    """
    hints: Mapping[str, bool] = storage.smoothing_hints()
    return {
        name: {
            "smoothed": hints[name],
            "values": [[float(value), int(when)] for value, when in storage.history(name).values()[-WINDOW:]],
        }
        for name, (_, latest) in storage.latest().items()
        if latest == storage.iter and name not in _OF_THIS_PROCESS
    }


def put_recent_values(storage: EventStorage, scalars: Mapping[str, Mapping[str, object]]) -> None:
    """Put what `recent_values` returned into a new storage, so that smoothing goes on where it was."""
    iteration = storage.iter
    for name, scalar in scalars.items():
        values, smoothed = scalar["values"], scalar["smoothed"]
        assert isinstance(values, list)
        for value, when in values:
            storage.iter = when
            storage.put_scalar(name, value, smoothing_hint=smoothed)
    storage.iter = iteration
