"""The trace of a few iterations on request: which ones it holds, and where it goes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import torch

from detectron_trainer.failures import OutputNotWritableError
from detectron_trainer.job.manifest import Profile
from detectron_trainer.training.trace import Trace

WANTED = Profile.model_validate({"startIteration": 2, "iterations": 2})


def traced(output: Path, iterations: range, wanted: Profile | None = WANTED) -> dict[str, set[str]]:
    """The names of what each file holds after a life that trains `iterations`."""
    trace = Trace(wanted, output)
    for iteration in iterations:
        with trace.of(iteration):
            torch.ones(4).sum()
    trace.close()
    return {path.name: names(path) for path in (output / "profile").glob("*")}


def names(path: Path) -> set[str]:
    with gzip.open(path, "rt") as file:
        events = json.load(file)["traceEvents"]
    return {event["name"] for event in events if event["name"].startswith(("iteration", "aten::sum"))}


def test_holds_the_iterations_that_are_asked_for(tmp_path: Path) -> None:
    expected = {"iterations-2-3.json.gz": {"iteration 2", "iteration 3", "aten::sum"}}
    assert traced(tmp_path, range(6)) == expected


def test_a_life_that_ends_or_begins_among_them_traces_its_own(tmp_path: Path) -> None:
    assert traced(tmp_path, range(3)) == {"iterations-2-2.json.gz": {"iteration 2", "aten::sum"}}
    assert traced(tmp_path, range(3, 6)).keys() == {"iterations-2-2.json.gz", "iterations-3-3.json.gz"}


@pytest.mark.parametrize(("wanted", "iterations"), [(None, range(6)), (WANTED, range(4, 6))])
def test_nothing_is_traced_that_nobody_asked_for(
    tmp_path: Path, wanted: Profile | None, iterations: range
) -> None:
    assert traced(tmp_path, iterations, wanted) == {}


def test_an_output_that_takes_no_files_is_named(tmp_path: Path) -> None:
    (tmp_path / "profile").touch()
    with pytest.raises(OutputNotWritableError, match="profile cannot be written"):
        traced(tmp_path, range(6))
