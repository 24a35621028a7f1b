"""The progress document is valid and small whatever is put into it, and the first verdict of a pod stays."""

import json
import math
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectron_trainer.progress.board import ProgressBoard
from detectron_trainer.progress.document import BYTE_LIMIT, Progress
from detectron_trainer.progress.parts import BestCheckpoint, Checkpoint, Evaluation, Phase, Reason, Verdict
from detectron_trainer.progress.termination_message import write_termination_message
from detectron_trainer.progress.work import TIMED, Work

SCHEMA = json.loads((Path(__file__).parents[2] / "crds/progress.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
NOW = datetime(2026, 10, 7, 12, 30, 15, 250_000, tzinfo=UTC)

# Lone surrogates included: that is how Python carries file names that are no UTF-8.
anything = st.text(st.characters(exclude_categories=()), max_size=3000)
counts = st.integers(min_value=0, max_value=2**53)
times = st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))
metrics = st.dictionaries(anything, st.floats(), max_size=40)
seconds = st.floats(min_value=0, max_value=1e9)
documents = st.builds(
    Progress,
    phase=st.sampled_from(Phase),
    attempt=counts,
    world_size=st.integers(min_value=1, max_value=2**31),
    iteration=counts,
    last_updated_time=times,
    max_iterations=st.none() | counts,
    estimated_remaining_seconds=st.none() | st.floats(),
    metrics=metrics,
    evaluation=st.none()
    | st.builds(Evaluation, iteration=counts, metrics=metrics, average_precision=st.none() | st.floats()),
    last_checkpoint=st.none() | st.builds(Checkpoint, iteration=counts, path=anything, time=times),
    best_checkpoint=st.none()
    | st.builds(
        BestCheckpoint, iteration=counts, path=anything, time=times, metric=anything, value=st.floats()
    ),
    work=st.none()
    | st.builds(
        Work,
        start_time=times,
        trained=counts,
        idle=seconds,
        seconds=st.fixed_dictionaries(dict.fromkeys(TIMED, seconds)),
        slow_iteration=st.none() | seconds,
    ),
    verdict=st.none()
    | st.builds(
        Verdict,
        reason=st.sampled_from(Reason),
        message=anything,
        retryable=st.booleans(),
        rank=st.none() | counts,
        iteration=st.none() | counts,
    ),
)

STARTING = Progress(phase=Phase.STARTING, attempt=2, world_size=4, iteration=0, last_updated_time=NOW)
FINISHED = Progress(
    phase=Phase.FINISHED,
    attempt=2,
    world_size=4,
    iteration=90,
    max_iterations=90,
    estimated_remaining_seconds=0,
    metrics={"total_loss": 0.25, "lr": 0.01},
    evaluation=Evaluation(iteration=90, metrics={"digits/bbox/AP": 0.5}, average_precision=0.5),
    last_checkpoint=Checkpoint(iteration=90, path="/output/model_final.pth", time=NOW),
    best_checkpoint=BestCheckpoint(
        iteration=60, path="/output/model_best.pth", time=NOW, metric="digits/bbox/AP", value=0.6
    ),
    verdict=Verdict(reason=Reason.COMPLETED, message="trained 90 iterations", retryable=False),
    last_updated_time=NOW,
)
FAILED = replace(
    FINISHED,
    verdict=Verdict(reason=Reason.NON_FINITE_LOSS, message="NaN", retryable=False, rank=3, iteration=41),
)


@given(documents)
def test_any_progress_is_a_valid_document_that_fits(progress: Progress) -> None:
    text = progress.to_json()

    assert len(text.encode()) <= BYTE_LIMIT
    VALIDATOR.validate(json.loads(text))


@given(documents)
def test_a_document_that_was_read_says_the_same(progress: Progress) -> None:
    text = progress.to_json()

    # A cut that made room for nothing is made once: what was read fits as it is.
    assert Progress.from_json(text).to_json() == text


@pytest.mark.parametrize("progress", [STARTING, FINISHED, FAILED], ids=["starting", "finished", "failed"])
def test_a_usual_document_loses_nothing(progress: Progress) -> None:
    assert Progress.from_json(progress.to_json()) == progress


def test_the_verdict_outlives_what_does_not_fit() -> None:
    crowded = replace(
        FAILED,
        metrics={f"loss_{'x' * 110}_{n}": 1 / 3 for n in range(16)},
        evaluation=Evaluation(iteration=90, metrics={f"{'d' * 100}/bbox/AP{n}": 1 / 3 for n in range(24)}),
        verdict=Verdict(reason=Reason.INVALID_CONFIG, message="ä" * 5000, retryable=False),
    )

    read = Progress.from_json(crowded.to_json())

    assert read.verdict is not None
    assert read.verdict.reason is Reason.INVALID_CONFIG
    assert read.verdict.message.startswith("ä" * 100)
    assert read.verdict.message.endswith("…")


def test_a_limit_that_holds_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 10 bytes"):
        STARTING.to_json(limit=10)


def test_values_that_are_not_finite_are_left_out() -> None:
    progress = replace(
        STARTING,
        metrics={"total_loss": math.nan, "lr": 0.1},
        estimated_remaining_seconds=math.inf,
        evaluation=Evaluation(iteration=3, metrics={"d/bbox/AP": math.nan}, average_precision=math.nan),
    )

    document = json.loads(progress.to_json())

    assert document["metrics"] == [{"name": "lr", "value": 0.1}]
    assert "estimatedRemainingSeconds" not in document
    assert document["evaluation"] == {"iteration": 3, "metrics": []}


@pytest.mark.parametrize(
    ("iteration", "max_iterations", "percentage"),
    [(0, None, None), (0, 90, 0), (89, 90, 98), (999, 1000, 99), (90, 90, 100), (95, 90, 100), (0, 0, 100)],
)
def test_a_hundred_per_cent_is_the_end(
    iteration: int, max_iterations: int | None, percentage: int | None
) -> None:
    assert replace(STARTING, iteration=iteration, max_iterations=max_iterations).percentage == percentage


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"phase": "Training"}', "\x00", '{"phase": "Odd"}'])
def test_what_is_no_progress_document_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # json's own error is one
        Progress.from_json(text)


def test_the_board_dates_each_change() -> None:
    board = ProgressBoard(STARTING, clock=lambda: NOW + timedelta(seconds=9))

    board.update(phase=Phase.TRAINING, iteration=7)

    assert replace(board.snapshot(), work=None) == replace(
        STARTING, phase=Phase.TRAINING, iteration=7, last_updated_time=NOW + timedelta(seconds=9)
    )


def test_no_change_to_the_board_is_lost_between_threads() -> None:
    board = ProgressBoard(STARTING, clock=lambda: NOW)
    start = threading.Barrier(3)

    def count(first: int) -> None:
        start.wait()
        for step in range(500):
            # Each thread changes a field of its own; a lost update would bring an older value back.
            if first:
                board.update(iteration=step)
                assert board.snapshot().iteration == step
            else:
                board.update(max_iterations=step)
                assert board.snapshot().max_iterations == step

    failures: list[BaseException] = []

    def run(first: int) -> None:
        try:
            count(first)
        except AssertionError as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(first,)) for first in (0, 1)]
    for thread in threads:
        thread.start()
    start.wait()
    for thread in threads:
        thread.join()

    assert failures == []


def test_the_first_verdict_stays(tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    log.touch()

    write_termination_message(log, STARTING)
    assert Progress.from_json(log.read_text()) == STARTING
    write_termination_message(log, FAILED)
    assert Progress.from_json(log.read_text()) == FAILED
    write_termination_message(log, FINISHED)
    assert Progress.from_json(log.read_text()) == FAILED


def test_what_else_stands_in_the_termination_log_is_replaced(tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    log.write_bytes(b"\xff" * 5000)

    write_termination_message(log, FAILED)

    assert Progress.from_json(log.read_text()) == FAILED
