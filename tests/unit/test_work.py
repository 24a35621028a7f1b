"""What a process says of its work: iterations, seconds by phase, slow iterations, idle time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from detectron_trainer.progress.board import ProgressBoard
from detectron_trainer.progress.document import Progress
from detectron_trainer.progress.parts import Phase
from detectron_trainer.progress.work import ENOUGH, WINDOW, Work, WorkLog

NOW = datetime(2026, 10, 7, 12, 30, 15, tzinfo=UTC)


class Process:
    """A process whose clock the test turns."""

    def __init__(self) -> None:
        self.now = 100.0
        self.log = WorkLog(NOW, Phase.STARTING, lambda: self.now)

    def spend(self, seconds: float) -> None:
        self.now += seconds

    def train(self, *durations: float) -> None:
        for duration in durations:
            self.spend(duration)
            self.log.complete_iteration()


@pytest.mark.parametrize(
    ("phase", "iterations", "idle", "still"),
    [
        (Phase.TRAINING, ENOUGH, 8.9, False),
        (Phase.TRAINING, ENOUGH, 9.1, True),
        (Phase.TRAINING, ENOUGH - 1, 1000, False),
        (Phase.EVALUATING, ENOUGH, 1000, False),
        (Phase.CHECKPOINTING, ENOUGH, 1000, False),
    ],
)
def test_training_that_takes_longer_than_two_slow_iterations_stands_still(
    phase: Phase, iterations: int, idle: float, still: bool
) -> None:
    process = Process()
    process.log.enter(Phase.TRAINING)
    process.train(*[2] * iterations)
    process.spend(idle)
    progress = Progress(
        phase=phase, attempt=0, world_size=1, iteration=9, last_updated_time=NOW, work=process.log.work()
    )
    assert progress.stands_still == still


def test_time_goes_to_the_phase_that_it_is_spent_in() -> None:
    process = Process()
    process.spend(7)
    process.log.enter(Phase.TRAINING)
    process.train(2, 3)
    process.log.enter(Phase.CHECKPOINTING)
    process.spend(4)
    process.log.enter(Phase.TRAINING)
    process.train(2)
    process.log.enter(Phase.EVALUATING)
    process.spend(11)

    work = process.log.work()

    assert work.trained == 3
    assert work.seconds == {
        Phase.STARTING: 7,
        Phase.TRAINING: 7,
        Phase.CHECKPOINTING: 4,
        Phase.EVALUATING: 11,
    }


def test_an_iteration_that_is_not_complete_is_no_training() -> None:
    process = Process()
    process.log.enter(Phase.TRAINING)
    process.train(2)
    process.spend(60)
    assert process.log.work().seconds[Phase.TRAINING] == 2
    assert process.log.work().idle == 60


@pytest.mark.parametrize(
    "progress",
    [WorkLog.got_on, WorkLog.complete_iteration, lambda log: log.enter(Phase.EVALUATING)],
    ids=["a batch", "an iteration", "a phase"],
)
def test_whatever_gets_on_ends_the_idle_time(progress: object) -> None:
    process = Process()
    process.spend(60)
    assert callable(progress)
    progress(process.log)
    process.spend(1)
    assert process.log.work().idle == 1


def test_slow_iterations_are_the_99th_percentile_from_the_tenth_on() -> None:
    process = Process()
    process.log.enter(Phase.TRAINING)
    process.train(*[1.0] * (ENOUGH - 2), 5.0)
    assert process.log.work().slow_iteration is None
    process.train(1.0)
    assert process.log.work().slow_iteration == 5
    process.train(*[1.0] * 200)
    assert process.log.work().slow_iteration == 1


def test_old_iterations_are_forgotten() -> None:
    process = Process()
    process.log.enter(Phase.TRAINING)
    process.train(*[9.0] * WINDOW, *[1.0] * WINDOW)
    assert process.log.work().slow_iteration == 1


def test_the_board_tells_of_every_iteration_and_its_document_is_read_back() -> None:
    now = [0.0]
    start = Progress(phase=Phase.STARTING, attempt=0, world_size=1, iteration=0, last_updated_time=NOW)
    board = ProgressBoard(start, lambda: NOW, lambda: now[0])
    now[0] = 2.5
    board.update(phase=Phase.TRAINING)
    for completed in (41, 42):
        now[0] += 0.5
        board.complete_iteration(completed)
    now[0] += 8
    told = Progress.from_json(board.snapshot().to_json())
    assert told.iteration == 42
    assert told.work == Work(
        start_time=NOW,
        trained=2,
        idle=8,
        seconds={
            Phase.STARTING: 2.5,
            Phase.TRAINING: 1,
            Phase.EVALUATING: 0,
            Phase.CHECKPOINTING: 0,
        },
    )
