"""Restarts, counted and paused between."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectron_operator.history import MAX_REASONS, OTHER, History, back_off, read_history
from tests.unit.operator_objects import START, after

FIVE_MINUTES = timedelta(minutes=5)


def test_the_first_restart_follows_at_once_then_pauses_double_up_to_the_longest() -> None:
    pauses = [back_off(row, FIVE_MINUTES, "uid-1").total_seconds() for row in range(1, 12)]
    assert pauses[0] == 0
    assert 4 <= pauses[1] <= 5
    assert all(later == pytest.approx(2 * earlier) for earlier, later in pairwise(pauses[1:7]))
    assert 240 <= max(pauses) == pauses[-1] <= 300


@given(row=st.integers(0, 2**31), longest=st.integers(0, 3600), seed=st.text())
def test_it_keeps_to_the_longest_and_to_itself(row: int, longest: int, seed: str) -> None:
    pause = back_off(row, timedelta(seconds=longest), seed)
    assert timedelta() <= pause <= timedelta(seconds=longest)
    assert back_off(row, timedelta(seconds=longest), seed) == pause


def test_jobs_that_fail_together_come_back_one_by_one() -> None:
    pauses = {back_off(4, FIVE_MINUTES, f"uid-{i}-3") for i in range(100)}
    assert len(pauses) == 100
    assert max(pauses) - min(pauses) > timedelta(seconds=3)


def test_what_is_told_is_what_is_read() -> None:
    reasons = {"PodDeleted": 2, "OOMKilled": 1}
    history = History(
        attempt=3,
        restarts=1,
        in_a_row=2,
        by_reason=reasons,
        last_restart=START,
        replacements={1: 2, 0: 1},
    )
    assert read_history(history.record()) == history
    assert read_history({}) == History()


def test_a_restart() -> None:
    first = History().restarted("PodDeleted", counts=False, steady=False)
    assert (first.restarts, first.in_a_row, first.by_reason) == (0, 1, {"PodDeleted": 1})
    second = first.restarted("OOMKilled", counts=True, steady=False)
    assert (second.restarts, second.in_a_row, second.by_reason) == (1, 2, {"PodDeleted": 1, "OOMKilled": 1})
    assert second.restarted("OOMKilled", counts=True, steady=True).in_a_row == 1


def test_reasons_are_bounded_and_no_restart_is_lost() -> None:
    history = History()
    for i in range(100):
        history = history.restarted(f"Reason{i}", counts=True, steady=False)
    assert len(history.by_reason) == MAX_REASONS
    assert history.by_reason[OTHER] == 100 - MAX_REASONS + 1
    assert sum(history.by_reason.values()) == 100


def test_the_pause_passes_and_a_clock_that_was_set_back_prolongs_it_for_an_hour_at_most() -> None:
    history = History(not_before=after(30))
    assert history.left(START) == 30
    assert history.left(after(30)) == 0
    assert history.left(after(-86400)) == 0


def test_replacements_are_of_one_attempt() -> None:
    history = History().replaced([1, 3]).replaced([1])
    assert history.replacements == {1: 2, 3: 1}
    assert history.in_attempt(0) == history
    assert history.in_attempt(1) == History(attempt=1)
