"""Signals that ask a run to stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from detectron_trainer.gang.stop import StopRequest


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    os.close(signal.set_wakeup_fd(-1))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_makes_the_request_and_a_second_one_changes_nothing(number: signal.Signals) -> None:
    stop = StopRequest()
    stop.listen()
    seen = [stop.made]
    for _ in range(2):
        signal.raise_signal(number)
        seen.append(stop.made)
    assert seen == [False, True, True]


def test_a_signal_that_somebody_else_handles_has_come_and_makes_no_request() -> None:
    stop = StopRequest()
    stop.listen()
    taken: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: taken.append(number))
    assert not stop.came()
    signal.raise_signal(signal.SIGTERM)
    assert (stop.came(), stop.came(), stop.made) == (True, True, False)
    assert taken == [signal.SIGTERM]


def test_another_signal_is_no_wish_to_stop() -> None:
    stop = StopRequest()
    stop.listen()
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)
    assert not stop.came()


def test_what_a_child_is_told_is_not_said_to_its_parent() -> None:
    stop = StopRequest()
    stop.listen()
    child = os.fork()
    if child == 0:
        signal.raise_signal(signal.SIGTERM)
        os._exit(int(not stop.made))
    assert os.waitpid(child, 0)[1] == 0
    assert not stop.came()
