"""What becomes of COCO's results, and how an evaluation is interrupted."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from detectron_trainer.evaluation.evaluation import (
    EvaluationStopped,
    InterruptibleBatches,
    is_due,
    is_owed,
    read_results,
    scalars,
    summarize,
    write_results,
)
from detectron_trainer.gang.stop import StopRequest
from detectron_trainer.gang.world import World

BBOX = {"AP": 50.0, "AP50": 75.0, "APl": math.nan, "AP-cat": 40.0}
RESULTS = {"val": {"bbox": BBOX, "segm": {"AP": 30.0}}}


def test_scalars_are_named_as_by_detectron2() -> None:
    assert scalars(RESULTS) == {"bbox/AP": 50.0, "bbox/AP50": 75.0, "bbox/AP-cat": 40.0, "segm/AP": 30.0}
    assert "other/bbox/AP" in scalars({**RESULTS, "other": RESULTS["val"]})
    assert scalars({}) == {}


def test_the_summary_holds_ratios_and_the_first_task_s_precision() -> None:
    summary = summarize(RESULTS, 7)
    assert summary.metrics == {"val/bbox/AP": 0.5, "val/bbox/AP50": 0.75, "val/segm/AP": 0.3}
    assert (summary.iteration, summary.average_precision) == (7, 0.3)
    assert summarize({}, 7).average_precision is None
    assert summarize({"val": {"bbox": {"AP": math.nan}}}, 7).average_precision is None


def test_results_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_results(tmp_path) is None
    write_results(tmp_path, RESULTS, 7)
    kept = read_results(tmp_path)
    assert kept is not None
    assert json.dumps(kept) == json.dumps([RESULTS, 7])
    (tmp_path / "evaluation.json").write_text("[]")
    assert read_results(tmp_path) is None
    assert "cannot be read" in caplog.text


def config(period: int, tests: tuple[str, ...] = ("val",)) -> Any:
    solver, test = SimpleNamespace(MAX_ITER=12), SimpleNamespace(EVAL_PERIOD=period)
    return SimpleNamespace(SOLVER=solver, TEST=test, DATASETS=SimpleNamespace(TEST=tests))


def test_is_due_at_its_period_and_at_the_end() -> None:
    assert [n for n in range(13) if is_due(config(5), n)] == [5, 10, 12]
    assert [n for n in range(13) if is_due(config(0), n)] == [12]
    assert [n for n in range(13) if is_due(config(5, ()), n)] == []


@pytest.mark.parametrize(
    ("completed", "last_evaluated", "owed"),
    [(0, None, False), (5, None, True), (5, 5, False), (6, 5, False), (10, 5, True), (12, 12, True)],
)
def test_is_owed_where_an_earlier_life_did_not_get_to_it(
    completed: int, last_evaluated: int | None, owed: bool
) -> None:
    assert is_owed(config(5), completed, last_evaluated) is owed


class Gang:
    """Stands for a world of which this rank is one: others have `longest` batches, and stop at a poll."""

    def __init__(self, longest: int, stopped_at: int | None = None) -> None:
        self.polls = 0
        self._longest = longest
        self._stopped_at = stopped_at

    def longest(self, length: int) -> int:
        return max(length, self._longest)

    def any(self, flag: bool) -> bool:
        self.polls += 1
        return flag or self.polls == self._stopped_at


def batches(count: int, gang: Gang) -> InterruptibleBatches:
    return InterruptibleBatches(list(range(count)), cast("World", gang), StopRequest(), lambda: None)


@pytest.mark.parametrize(("mine", "longest"), [(0, 20), (3, 20), (20, 20), (16, 17), (20, 3)])
def test_all_ranks_poll_equally_often(mine: int, longest: int) -> None:
    gang = Gang(longest)
    assert list(batches(mine, gang)) == list(range(mine))
    assert gang.polls == math.ceil(max(mine, longest) / 8)


@pytest.mark.parametrize("mine", [0, 3, 20])
def test_all_ranks_stop_at_the_same_poll(mine: int) -> None:
    gang = Gang(20, stopped_at=2)
    with pytest.raises(EvaluationStopped):
        list(batches(mine, gang))
    assert gang.polls == 2
