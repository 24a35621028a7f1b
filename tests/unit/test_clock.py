"""The API server's time, as its answers tell it, against a server and a machine that the test turns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectron_operator.kube.clock import Clock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


class World:
    """An API server whose clock is at noon, and an operator whose machine is off by `error` at its start."""

    def __init__(self, error: timedelta = timedelta()) -> None:
        self.seconds = 1000.0
        self.ahead = timedelta()
        """How far the API server's clock was set since noon."""
        self.clock = Clock(lambda: self.seconds, NOON + error)

    @property
    def time(self) -> datetime:
        """What the API server's clock says."""
        return NOON + self.ahead + timedelta(seconds=self.seconds - 1000)

    @property
    def error(self) -> timedelta:
        return self.clock.now() - self.time

    def ask(self, there: float = 0.0, back: float = 0.0) -> None:
        """A question that is so many seconds on its way, and its answer."""
        asked = self.clock.monotonic()
        self.seconds += there
        header = format_datetime(self.time.replace(microsecond=0), usegmt=True)
        self.seconds += back
        self.clock.hear(header, asked)


def test_before_the_first_answer_it_is_the_machine_s_time() -> None:
    world = World(HOUR)
    world.seconds += 7.5
    assert world.clock.now() == NOON + HOUR + timedelta(seconds=7.5)


@pytest.mark.parametrize("error", [HOUR, -HOUR, timedelta(days=-20000), timedelta()])
def test_the_first_answer_counts_whatever_the_machine_believes(error: timedelta) -> None:
    world = World(error)
    world.seconds += 0.4
    world.ask()
    assert timedelta(seconds=-0.4) <= world.error <= timedelta(seconds=0.6)


def test_what_is_within_the_header_s_second_is_left_alone() -> None:
    world = World(timedelta(milliseconds=200))
    world.seconds += 0.3
    world.ask()
    assert abs(world.error - timedelta(milliseconds=200)) < timedelta(microseconds=2)


@pytest.mark.parametrize("error", [HOUR, -HOUR])
def test_answers_in_other_parts_of_the_second_make_it_exact(error: timedelta) -> None:
    world = World(error)
    errors = []
    for _ in range(21):
        world.ask()
        errors.append(abs(world.error))
        world.seconds += 0.95
    assert all(later <= sooner + timedelta(microseconds=2) for sooner, later in pairwise(errors))
    assert errors[-1] <= timedelta(seconds=0.06)


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 2 * SECOND, -2 * SECOND])
def test_a_server_whose_clock_is_set_is_followed(jump: timedelta) -> None:
    world = World()
    world.ask()
    world.ahead += jump
    world.ask()
    assert abs(world.error) <= SECOND


def test_a_machine_that_was_suspended_is_late_until_the_next_answer() -> None:
    world = World()
    world.ask()
    world.ahead += HOUR  # The monotonic clock stood still meanwhile.
    assert world.error == -HOUR
    world.ask()
    assert abs(world.error) <= SECOND


@pytest.mark.parametrize(("there", "back"), [(30.0, 0.0), (0.0, 30.0), (15.0, 15.0)])
def test_an_answer_that_takes_long_says_little_and_nothing_wrong(there: float, back: float) -> None:
    world = World()
    world.ask(there, back)
    assert abs(world.error) < timedelta(microseconds=2)


@given(
    error=st.floats(-5000, 5000),
    asks=st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3), st.floats(0, 3)), min_size=1),
)
def test_it_is_never_wrong_by_more_than_a_second_and_the_way(
    error: float, asks: list[tuple[float, float, float]]
) -> None:
    world = World(timedelta(seconds=error))
    for pause, there, back in asks:
        world.seconds += pause
        world.ask(there, back)
        assert abs(world.error) <= timedelta(seconds=1.001 + there + back)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "yesterday",
        "Sun, 01 Mar 2026 25:00:00 GMT",
        "Sun, 01 Mar 10026 12:00:00 GMT",
        "0",
        "\0" * 99,
    ],
)
def test_an_answer_that_tells_no_time_changes_nothing(header: str | None) -> None:
    world = World(HOUR)
    world.clock.hear(header, world.seconds)
    assert world.error == HOUR
    world.ask()
    world.clock.hear(header, world.seconds)
    assert abs(world.error) <= SECOND
