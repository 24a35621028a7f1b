"""The estimate of the time that is left."""

from detectron_trainer.progress.remaining_time import RemainingTime


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_first_estimate_takes_the_measured_iteration() -> None:
    assert RemainingTime(50, Clock()).estimate(10, 2.0) == 80
    assert RemainingTime(50, Clock()).estimate(10, None) is None


def test_pauses_between_iterations_count() -> None:
    clock = Clock()
    remaining = RemainingTime(50, clock)
    remaining.estimate(10, 1.0)

    clock.now += 40  # ten iterations of a second and an evaluation of thirty

    assert remaining.estimate(20, 1.0) == 30 * 4


def test_nothing_remains_at_the_end_and_nothing_is_known_without_an_end() -> None:
    assert RemainingTime(50, Clock()).estimate(50, 1.0) == 0
    assert RemainingTime(50, Clock()).estimate(51, 1.0) == 0
    assert RemainingTime(None, Clock()).estimate(50, 1.0) is None


def test_a_run_that_went_back_is_measured_anew() -> None:
    clock = Clock()
    remaining = RemainingTime(50, clock)
    remaining.estimate(40, 1.0)
    clock.now += 1000

    assert remaining.estimate(10, 1.0) == 40
