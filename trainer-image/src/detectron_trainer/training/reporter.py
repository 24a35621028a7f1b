"""What a run says of itself: Detectron2's writers, Prometheus, the progress board."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.config import CfgNode
from detectron2.utils.events import (
    CommonMetricPrinter,
    EventWriter,
    JSONWriter,
    TensorboardXWriter,
    get_event_storage,
)
from prometheus_client import CollectorRegistry

from detectron_trainer.evaluation.evaluation import Results, summarize
from detectron_trainer.evaluation.validation_loss import PREFIX as VALIDATION
from detectron_trainer.job import user_code
from detectron_trainer.job.manifest import Metrics
from detectron_trainer.metrics.json_file import drop_rows_from
from detectron_trainer.metrics.progress_writer import ProgressWriter
from detectron_trainer.metrics.prometheus_writer import PrometheusWriter
from detectron_trainer.progress.board import ProgressBoard
from detectron_trainer.progress.parts import BestCheckpoint, Checkpoint, Phase


class Reporter:
    """Writes every `period` iterations, on rank 0; the other ranks' has no writers and only keeps the board.

    `prometheus`, one of the writers, is also told of what is in no scalar. Images and histograms are cleared
    unless `keeps_images` leaves them to the writers of the user's own loop.
    """

    def __init__(
        self,
        writers: Sequence[EventWriter],
        prometheus: PrometheusWriter | None,
        board: ProgressBoard,
        *,
        period: int,
        max_iter: int,
        keeps_images: bool = False,
    ) -> None:
        self._writers = writers
        self._keeps_images = keeps_images
        self._prometheus = prometheus
        self._board = board
        self.period = period
        self._max_iter = max_iter

    def is_due(self, completed: int) -> bool:
        return completed % self.period == 0 or completed == self._max_iter

    def write(self) -> None:
        """Write the storage's latest values; call it once an iteration, after all of them are put."""
        storage = get_event_storage()
        for writer in self._writers:
            writer.write()
        # TensorBoard's writer has written them; where there is none they would pile up.
        if not self._keeps_images:
            storage.clear_images()
            storage.clear_histograms()
        self._board.update(iteration=min(storage.iter + 1, self._max_iter))

    def completed(self, completed: int) -> None:
        """Tell of one more iteration, of which there are now `completed`."""
        self._board.complete_iteration(min(completed, self._max_iter))

    def got_on(self) -> None:
        """Tell that a batch is evaluated, or other work done that changes nothing else."""
        self._board.got_on()

    def phase(self, phase: Phase) -> None:
        self._board.update(phase=phase)

    def evaluation(self, results: Results, completed: int) -> None:
        """Show the results of the evaluation after `completed` iterations."""
        self._board.update(evaluation=summarize(results, completed))
        if self._prometheus is not None:
            self._prometheus.observe_evaluation(results, completed - 1)

    def checkpoint(self, path: Path, completed: int) -> None:
        """Show that `path`, with `completed` iterations, is the newest checkpoint."""
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        self._board.update(last_checkpoint=Checkpoint(iteration=completed, path=str(path), time=written))
        if self._prometheus is not None:
            self._prometheus.observe_checkpoint(written)

    def best(self, best: BestCheckpoint) -> None:
        self._board.update(best_checkpoint=best)

    def withdraw(self) -> None:
        """Take its metrics away, for another reporter of this process to bring its own."""
        if self._prometheus is not None:
            self._prometheus.registry.unregister(self._prometheus)

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


def silent_reporter(cfg: CfgNode, board: ProgressBoard, period: int) -> Reporter:
    """The reporter of the ranks other than 0."""
    return Reporter([], None, board, period=period, max_iter=cfg.SOLVER.MAX_ITER)


def main_reporter(
    cfg: CfgNode,
    board: ProgressBoard,
    registry: CollectorRegistry,
    start: int,
    first_row: int,
    *,
    metrics: Metrics,
    config: str,
    trackers: Sequence[EventWriter],
) -> Reporter:
    """The reporter of rank 0, which goes on after `start` iterations in the output folder's files.

    `config` is all of it as text. It writes metrics from iteration `first_row` on, so that rows of that
    iteration and later ones go.
    """
    max_iter, folder = cfg.SOLVER.MAX_ITER, Path(cfg.OUTPUT_DIR)
    rows = folder / "metrics.json"
    drop_rows_from(rows, first_row)
    prometheus = _prometheus(cfg, board, registry, start, metrics, config)
    writers = [
        # First, so that what they put reaches the others.
        *_own_writers(cfg, metrics),
        CommonMetricPrinter(max_iter),
        JSONWriter(str(rows)),
        TensorboardXWriter(str(folder), purge_step=first_row),
        prometheus,
        ProgressWriter(board, max_iter),
        *trackers,
    ]
    return Reporter(writers, prometheus, board, period=metrics.period, max_iter=max_iter)


def observing_reporter(
    cfg: CfgNode,
    board: ProgressBoard,
    registry: CollectorRegistry,
    start: int,
    *,
    metrics: Metrics,
    config: str,
    trackers: Sequence[EventWriter],
) -> Reporter:
    """The reporter of rank 0 beside a loop that writes metrics.json and TensorBoard itself."""
    max_iter = cfg.SOLVER.MAX_ITER
    prometheus = _prometheus(cfg, board, registry, start, metrics, config)
    writers = [*_own_writers(cfg, metrics), prometheus, ProgressWriter(board, max_iter), *trackers]
    return Reporter(writers, prometheus, board, period=metrics.period, max_iter=max_iter, keeps_images=True)


def _own_writers(cfg: CfgNode, metrics: Metrics) -> list[EventWriter]:
    return [user_code.call(reference, EventWriter, cfg) for reference in metrics.writers]


def _prometheus(
    cfg: CfgNode,
    board: ProgressBoard,
    registry: CollectorRegistry,
    start: int,
    metrics: Metrics,
    config: str,
) -> PrometheusWriter:
    tests = cfg.DATASETS.TEST
    prometheus = PrometheusWriter(
        max_iter=cfg.SOLVER.MAX_ITER,
        registry=registry,
        images_per_iteration=cfg.SOLVER.IMS_PER_BATCH,
        dataset=tests[0] if len(tests) == 1 else "",
        scalars=[*metrics.scalars, f"{VALIDATION}*"],
        categories=metrics.categories,
        info={
            "model": cfg.MODEL.META_ARCHITECTURE,
            "world_size": str(board.snapshot().world_size),
            "config_sha": hashlib.sha256(config.encode()).hexdigest()[:12],
        },
    )
    prometheus.set_start_iteration(start)
    return prometheus
