"""A PyTorch trace of a few iterations: what ran when on the CPU and the GPU, for Perfetto to show."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from detectron_trainer.atomic_file import replaced_atomically
from detectron_trainer.failures import OutputNotWritableError
from detectron_trainer.job.manifest import Profile

FOLDER = "profile"

_logger = logging.getLogger(__name__)


class Trace:
    """Traces the iterations that `wanted` names into `output`/profile; of all others it costs one comparison.

    A life that begins or ends among them traces those that it trains.
    """

    def __init__(self, wanted: Profile | None, output: Path) -> None:
        first = wanted.start_iteration if wanted is not None else 0
        self._wanted = range(first, first + wanted.iterations) if wanted is not None else range(0)
        self._folder = output / FOLDER
        self._profiler: profile | None = None
        self._traced: list[int] = []

    @contextmanager
    def of(self, iteration: int) -> Iterator[None]:
        """Trace what runs inside if `iteration` (from 0) is wanted; after the last one the file is written.

        Raises:
            OutputNotWritableError: it could not be.
        """
        if iteration not in self._wanted:
            yield
            return
        if self._profiler is None:
            self._profiler = _started()
        self._traced.append(iteration)
        with record_function(f"iteration {iteration}"):
            yield
        if iteration == self._wanted[-1]:
            self.close()

    def close(self) -> None:
        """Write what is traced, unless it is written."""
        profiler, self._profiler = self._profiler, None
        if profiler is None:
            return
        profiler.stop()
        path = self._folder / f"iterations-{self._traced[0]}-{self._traced[-1]}.json.gz"
        self._traced.clear()
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputNotWritableError(self._folder, error) from error
        # The profiler takes a name and compresses by its ending.
        with tempfile.NamedTemporaryFile(suffix=".json.gz") as local:
            profiler.export_chrome_trace(local.name)
            with open(local.name, "rb") as whole, replaced_atomically(path, "wb") as file:
                shutil.copyfileobj(whole, file)
        _logger.info("a trace of %s is in %s", path.stem.removesuffix(".json"), self._folder)


def _started() -> profile:
    on_gpu = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
    profiler = profile(activities=[ProfilerActivity.CPU, *on_gpu], record_shapes=True, acc_events=True)
    profiler.start()
    return profiler
