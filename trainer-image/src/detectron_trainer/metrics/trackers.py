"""Event writers for experiment trackers, through their own packages; nobody has to have these.

A tracker sees each value once, at its iteration. A run that goes on keeps its identity, which is noted in the
output folder: iterations that are trained again after a crash are told again.
"""

from __future__ import annotations

import importlib
import logging
import math
import re
import secrets
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.utils.events import EventStorage, EventWriter, get_event_storage

from detectron_trainer.atomic_file import replaced_atomically

WINDOW = 20
CLOSE_SECONDS = 10.0
"""How long the end of a run waits for a tracker; what it has not taken by then may be lost."""
_MLFLOW_BATCH = 1000

_logger = logging.getLogger(__name__)


class FreshValues:
    """The finite scalars that were put since the last look, smoothed as in metrics.json, by iteration."""

    def __init__(self) -> None:
        self._seen = -1

    def take(self, storage: EventStorage) -> Iterator[tuple[int, Mapping[str, float]]]:
        rows: dict[int, dict[str, float]] = defaultdict(dict)
        for name, (value, iteration) in storage.latest_with_smoothing_hint(WINDOW).items():
            if iteration > self._seen and math.isfinite(value):
                rows[iteration][name] = float(value)
        self._seen = max([self._seen, *rows])
        yield from sorted(rows.items())


class WandbWriter(EventWriter):  # type: ignore[misc]  # detectron2 ships no types
    """Writes to `run`, which ``wandb.init`` made; the package sends from a process of its own."""

    def __init__(self, run: Any) -> None:
        self._run = run
        self._fresh = FreshValues()

    def write(self) -> None:
        for iteration, values in self._fresh.take(get_event_storage()):
            self._run.log(dict(values), step=iteration)

    def close(self) -> None:
        failed = sys.exception() is not None
        _within_reason("Weights & Biases", lambda: self._run.finish(exit_code=int(failed)))


class MlflowWriter(EventWriter):  # type: ignore[misc]  # detectron2 ships no types
    """Writes to the run `run_id` by `client`, from a thread of the package: training does not wait for it."""

    def __init__(self, client: Any, run_id: str, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._run_id = run_id
        self._clock = clock
        self._fresh = FreshValues()
        self._last: Any = None

    def write(self) -> None:
        metric, now = importlib.import_module("mlflow.entities").Metric, int(self._clock().timestamp() * 1000)
        metrics = [
            metric(_mlflow_name(name), value, now, iteration)
            for iteration, values in self._fresh.take(get_event_storage())
            for name, value in values.items()
        ]
        for start in range(0, len(metrics), _MLFLOW_BATCH):
            batch = metrics[start : start + _MLFLOW_BATCH]
            self._last = self._client.log_batch(self._run_id, metrics=batch, synchronous=False)

    def close(self) -> None:
        status = "FAILED" if sys.exception() is not None else "FINISHED"

        def end() -> None:
            if self._last is not None:
                self._last.wait()
            self._client.set_terminated(self._run_id, status)

        _within_reason("MLflow", end)


def wandb_writer(folder: Path, name: str, *, project: str, entity: str | None, mode: str) -> WandbWriter:
    """Begin or go on with the run that `folder` notes; offline it stays in ``folder/wandb``."""
    wandb = importlib.import_module("wandb")
    run_id = _lasting(folder / "wandb_run_id", lambda: secrets.token_hex(8))
    run = wandb.init(
        project=project, entity=entity, name=name, id=run_id, resume="allow", dir=str(folder), mode=mode
    )
    return WandbWriter(run)


def mlflow_writer(
    folder: Path, name: str, clock: Callable[[], datetime], *, tracking_uri: str, experiment: str
) -> MlflowWriter:
    """Begin or go on with the run that `folder` notes."""
    client = importlib.import_module("mlflow").MlflowClient(tracking_uri=tracking_uri)

    def begin() -> str:
        known = client.get_experiment_by_name(experiment)
        number = known.experiment_id if known is not None else client.create_experiment(experiment)
        return str(client.create_run(number, run_name=name).info.run_id)

    run_id = _lasting(folder / "mlflow_run_id", begin)
    client.update_run(run_id, status="RUNNING")
    return MlflowWriter(client, run_id, clock)


def _lasting(path: Path, make: Callable[[], str]) -> str:
    if path.is_file():
        return path.read_text()
    made = make()
    with replaced_atomically(path, "w") as file:
        file.write(made)
    return made


def _mlflow_name(name: str) -> str:
    # What its servers take in names of metrics.
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)


def _within_reason(tracker: str, end: Callable[[], None]) -> None:
    """Call `end`, but let the end of the run, which may be timed, not hang on it."""

    def attempt() -> None:
        try:
            end()
        except Exception as error:  # noqa: BLE001 - a tracker must not change how training ended
            _logger.warning("%s may lack the last values: %s: %s", tracker, type(error).__name__, error)

    thread = threading.Thread(target=attempt, name="tracker", daemon=True)
    thread.start()
    thread.join(CLOSE_SECONDS)
    if thread.is_alive():
        _logger.warning("%s may lack the last values: it took longer than %g s", tracker, CLOSE_SECONDS)
