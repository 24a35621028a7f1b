"""metrics.json and its smoothing over several lives of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip
from detectron2.utils.events import EventStorage

from detectron_trainer.metrics.json_file import drop_rows_from, put_recent_values, recent_values
from detectron_trainer.metrics.storage import BoundedStorage


def test_drops_what_is_trained_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "metrics.json"
    rows = [json.dumps({"iteration": n, "lr": 0.1}) for n in (0, 1, 2, 3)]
    path.write_text("\n".join(rows) + '\n{"iteration": 1, "tot')
    drop_rows_from(path, 2)
    assert path.read_text().splitlines() == rows[:2]
    assert "cut short" in caplog.text
    drop_rows_from(tmp_path / "missing.json", 2)
    assert not (tmp_path / "missing.json").exists()


def put(storage: EventStorage, iteration: int) -> None:
    storage.iter = iteration
    storage.put_scalar("loss", float(iteration % 7))
    storage.put_scalar("lr", 1 / (iteration + 1), smoothing_hint=False)


def test_smoothing_goes_on_where_it_was() -> None:
    with EventStorage() as whole, EventStorage(30) as resumed:
        for iteration in range(30):
            put(whole, iteration)
        resumed.iter = 29
        put_recent_values(resumed, json.loads(json.dumps(recent_values(whole))))
        assert resumed.iter == 29
        for iteration in range(30, 35):
            assert resumed.latest_with_smoothing_hint(20) == whole.latest_with_smoothing_hint(20)
            put(whole, iteration)
            put(resumed, iteration)


def test_only_what_this_iteration_has_put_is_kept() -> None:
    with EventStorage() as storage:
        put(storage, 0)
        storage.put_scalar("early", 1.0)
        put(storage, 1)
        storage.put_scalar("time", 1.0)
        assert recent_values(storage).keys() == {"loss", "lr"}


def test_memory_does_not_grow_with_the_run() -> None:
    with BoundedStorage(0, period=600) as bounded, EventStorage() as whole:
        for iteration in range(5000):
            put(bounded, iteration)
            put(whole, iteration)
        assert len(bounded.history("loss").values()) == 1200
        assert bounded.latest_with_smoothing_hint(20) == whole.latest_with_smoothing_hint(20)
        assert bounded.history("loss").global_avg() == whole.history("loss").global_avg()
