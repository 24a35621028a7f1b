"""Which evaluation is the best, over several lives of a run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from detectron_trainer.checkpointing.best import BestSoFar
from detectron_trainer.progress.parts import Evaluation

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def best_so_far(folder: Path, metric: str | None = None) -> BestSoFar:
    return BestSoFar(folder, metric, lambda: NOW)


def evaluation(iteration: int, precision: float | None, **metrics: float) -> Evaluation:
    return Evaluation(iteration=iteration, metrics=metrics, average_precision=precision)


def test_the_first_of_equals_is_the_best(tmp_path: Path) -> None:
    best = best_so_far(tmp_path)
    assert best.beaten_by(evaluation(2, 0.0))
    best.replace(evaluation(2, 0.0))
    assert not best.beaten_by(evaluation(4, 0.0))
    assert best.beaten_by(evaluation(6, 0.1))


def test_another_life_knows_what_is_to_beat(tmp_path: Path) -> None:
    kept = best_so_far(tmp_path, "val/bbox/AP50").replace(evaluation(2, None, **{"val/bbox/AP50": 0.4}))
    assert kept.path == str(tmp_path / "model_best.pth")
    later = best_so_far(tmp_path, "val/bbox/AP50")
    assert later.checkpoint == kept
    assert not later.beaten_by(evaluation(4, 0.9, **{"val/bbox/AP50": 0.3}))
    assert later.beaten_by(evaluation(4, None, **{"val/bbox/AP50": 0.5}))


def test_what_was_best_by_another_metric_is_no_measure(tmp_path: Path) -> None:
    best_so_far(tmp_path, "val/bbox/AP50").replace(evaluation(2, None, **{"val/bbox/AP50": 0.4}))
    assert best_so_far(tmp_path).checkpoint is None


def test_an_evaluation_without_the_metric_is_not_the_best(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert not best_so_far(tmp_path, "val/segm/AP").beaten_by(evaluation(2, 0.5))
    assert "no val/segm/AP" in caplog.text


def test_a_damaged_record_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "best.json").write_text('{"iteration": 2')
    best = best_so_far(tmp_path)
    assert "cannot be read" in caplog.text
    assert best.beaten_by(evaluation(4, 0.1))
