"""A stop that training does not heed, and one that it does."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from detectron_trainer.gang.overdue_stop import OverdueStop
from detectron_trainer.gang.stop import StopRequest
from detectron_trainer.progress.document import Progress
from detectron_trainer.progress.parts import Phase
from detectron_trainer.progress.work import Work

START = datetime(2026, 3, 1, tzinfo=UTC)


class Board:
    def __init__(self, phase: Phase, idle: float, slow: float | None) -> None:
        work = Work(start_time=START, idle=idle, slow_iteration=slow)
        self.looks = threading.Semaphore(0)
        self.progress = Progress(
            phase=phase, attempt=0, world_size=2, iteration=7, last_updated_time=START, work=work
        )

    def snapshot(self) -> Progress:
        self.looks.release()
        return self.progress


def watched(board: Board, *, stop: bool, answers: list[bool]) -> list[bool]:
    """The answers of `abandon` that were used up after some looks at the board."""
    given: list[bool] = []
    request = StopRequest()
    request.made = stop
    over = threading.Event()

    def abandon() -> bool:
        given.append(answers[len(given)])
        if given[-1]:
            over.set()
        return given[-1]

    with OverdueStop(request, board, abandon, poll_seconds=0.001, patience_seconds=10):
        if stop and not answers:
            assert all(board.looks.acquire(timeout=5) for _ in range(5))
        assert over.wait(timeout=5 if answers else 0) == bool(answers)
    return given


def test_it_acts_until_the_loop_is_found_waiting() -> None:
    board = Board(Phase.TRAINING, idle=10.1, slow=None)
    assert watched(board, stop=True, answers=[False, False, True]) == [False, False, True]


@pytest.mark.parametrize(
    ("phase", "idle", "slow"),
    [
        (Phase.TRAINING, 9.9, None),
        (Phase.TRAINING, 13.9, 2.0),
        (Phase.CHECKPOINTING, 600, None),
        (Phase.EVALUATING, 600, None),
    ],
)
def test_it_leaves_alone_what_may_yet_come_to_the_stop(phase: Phase, idle: float, slow: float | None) -> None:
    assert watched(Board(phase, idle, slow), stop=True, answers=[]) == []


def test_without_a_stop_it_does_nothing() -> None:
    board = Board(Phase.TRAINING, idle=600, slow=None)
    assert watched(board, stop=False, answers=[]) == []
