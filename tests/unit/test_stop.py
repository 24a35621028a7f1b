"""Signals that ask a run to stop."""

from __future__ import annotations

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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_makes_the_request_and_a_second_one_changes_nothing(number: signal.Signals) -> None:
    stop = StopRequest()
    stop.listen()
    seen = [stop.made]
    for _ in range(2):
        signal.raise_signal(number)
        seen.append(stop.made)
    assert seen == [False, True, True]
