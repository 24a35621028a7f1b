"""The best evaluation so far by one of its metrics, remembered over the lives of a run."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from detectron_trainer.atomic_file import replaced_atomically
from detectron_trainer.checkpointing.checkpoint import BEST
from detectron_trainer.progress.parts import BestCheckpoint, Evaluation

FILE = "best.json"
"""Beside the checkpoints: which evaluation `model_best.pth` belongs to."""
AVERAGE_PRECISION = "averagePrecision"

_logger = logging.getLogger(__name__)


class BestSoFar:
    """The best evaluation whose checkpoint `folder` holds, by `metric`; None is the job's average precision.

    Metrics are named as in `Evaluation`, and more is better.
    """

    def __init__(self, folder: Path, metric: str | None, clock: Callable[[], datetime]) -> None:
        self._folder = folder
        self._metric = metric
        self._clock = clock
        self.checkpoint = self._read()

    def beaten_by(self, evaluation: Evaluation) -> bool:
        """Whether `evaluation` is better than all before it; the first of equals is the best."""
        value = self._value(evaluation)
        if value is None:
            _logger.warning("this evaluation has no %s to judge the checkpoint by", self._name)
            return False
        return self.checkpoint is None or value > self.checkpoint.value

    def replace(self, evaluation: Evaluation) -> BestCheckpoint:
        """Note that `evaluation`, which has beaten the best, is the one whose checkpoint was just saved."""
        value = self._value(evaluation)
        assert value is not None
        best = BestCheckpoint(
            iteration=evaluation.iteration,
            path=str(self._folder / BEST),
            time=self._clock(),
            metric=self._name,
            value=value,
        )
        with replaced_atomically(self._folder / FILE, "w") as file:
            json.dump({**asdict(best), "time": best.time.isoformat()}, file, indent=1)
        self.checkpoint = best
        return best

    @property
    def _name(self) -> str:
        return self._metric or AVERAGE_PRECISION

    def _value(self, evaluation: Evaluation) -> float | None:
        return evaluation.metrics.get(self._metric) if self._metric else evaluation.average_precision

    def _read(self) -> BestCheckpoint | None:
        """What an earlier life has left; by another metric it is no measure."""
        path = self._folder / FILE
        try:
            fields = json.loads(path.read_text())
            best = BestCheckpoint(**{**fields, "time": datetime.fromisoformat(fields["time"])})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            _logger.warning("%s cannot be read (%s): the next evaluation is the best so far", path, error)
            return None
        return best if best.metric == self._name else None
