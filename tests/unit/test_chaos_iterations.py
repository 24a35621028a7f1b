"""What the fault suite makes of a metrics.json that it sees grow."""

from __future__ import annotations

from collections.abc import Iterable

from tests.chaos.iterations import IterationHistory, parse


def rows(iterations: Iterable[int], life: int = 0) -> dict[int, str]:
    return {iteration: f"row {iteration} of life {life}" for iteration in iterations}


def test_uninterrupted_training_repeats_nothing_and_has_nothing_to_recover_from() -> None:
    history = IterationHistory()
    for second in range(10):
        history.look(rows(range(second)), float(second))

    assert (history.completed, history.again, history.recovery(4.5)) == (9, set(), None)


def test_a_life_that_goes_on_behind_the_last_iteration_repeats_nothing() -> None:
    history = IterationHistory()
    history.look(rows(range(30)), 1.0)
    history.look(rows(range(30)) | rows([30], life=1), 21.0)

    assert (history.again, history.recovery(1.5)) == (set(), 19.5)


def test_iterations_that_are_dropped_were_trained_in_vain() -> None:
    history = IterationHistory()
    history.look(rows(range(35)), 1.0)
    history.look(rows(range(20)), 10.0)
    history.look(rows(range(20)) | rows(range(20, 35), life=1), 14.0)
    history.look(rows(range(20)) | rows(range(20, 36), life=1), 15.0)

    assert history.again == set(range(20, 35))
    assert history.recovery(2.0) == 13.0, "the first iteration that is new, not one that is trained again"


def test_they_count_even_if_nobody_looked_between_the_lives() -> None:
    history = IterationHistory()
    history.look(rows(range(35)), 1.0)
    history.look(rows(range(20)) | rows(range(20, 40), life=1), 14.0)

    assert history.again == set(range(20, 35))


def test_a_row_that_is_being_written_is_not_there_yet() -> None:
    assert list(parse('{"iteration": 0, "lr": 1}\n{"iteration": 1, "l')) == [0]
