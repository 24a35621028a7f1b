"""What a person sees of a local run."""

import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from detectron_trainer.command.terminal import (
    display_for,
    latest_values,
    show_failure,
    show_result,
    show_stop,
)
from detectron_trainer.progress.document import Progress
from detectron_trainer.progress.parts import Checkpoint, Evaluation, Phase, Reason, Verdict

NOW = datetime(2026, 10, 7, tzinfo=UTC)
PROGRESS = Progress(
    phase=Phase.TRAINING,
    attempt=0,
    world_size=2,
    iteration=40,
    max_iterations=90,
    estimated_remaining_seconds=3725.9,
    metrics={"total_loss": 1.23456, "lr": 0.00125, "time": 0.2, "loss_cls": 1.0, "loss_mask": 0.23456},
    evaluation=Evaluation(
        iteration=40,
        metrics={"digits/bbox/AP": 0.5, "digits/bbox/AP50": 0.8125, "digits/segm/AP": 0.25},
        average_precision=0.25,
    ),
    last_checkpoint=Checkpoint(iteration=40, path="/out/model_0000039.pth", time=NOW),
    last_updated_time=NOW,
)


class Screen:
    """A console whose output can be read, on a terminal or not."""

    def __init__(self, *, terminal: bool = False, width: int = 100) -> None:
        self._file = io.StringIO()
        self.console = Console(
            file=self._file, force_terminal=terminal, width=width, color_system=None, _environ={}
        )

    @property
    def text(self) -> str:
        return self._file.getvalue()


def failed(reason: Reason, message: str, **where: int) -> Progress:
    return replace(PROGRESS, verdict=Verdict(reason=reason, message=message, retryable=False, **where))


def test_the_latest_values_fit_on_a_line() -> None:
    assert latest_values(PROGRESS) == "loss 1.235  lr 0.00125  AP 0.250  ETA 1:02:05"
    assert (
        latest_values(replace(PROGRESS, metrics={}, evaluation=None, estimated_remaining_seconds=None)) == ""
    )


def test_a_terminal_gets_a_bar_and_only_the_warnings() -> None:
    screen = Screen(terminal=True)
    with display_for(screen.console) as display:
        display.progress(PROGRESS)
        display.line("2026-10-07 12:00:00 INFO  eta: 0:01:00  iter: 39  total_loss: 1.2")
        display.line("2026-10-07 12:00:00 WARNING [rank 1] disk is almost full")

    assert "Training" in screen.text
    assert "40/90" in screen.text
    assert "loss 1.235" in screen.text
    assert "WARNING [rank 1] disk is almost full" in screen.text
    assert "iter: 39" not in screen.text


def test_a_pipe_gets_plain_lines_as_they_are() -> None:
    screen = Screen(width=40)
    lines = ["a [bold]line[/bold] " + "x" * 200, "2026-10-07 12:00:00 INFO iter: 39", "", "| AP | ä |"]
    with display_for(screen.console) as display:
        display.progress(PROGRESS)
        for line in lines:
            display.line(line)

    assert screen.text.splitlines() == lines


def test_a_finished_run_shows_what_came_out(tmp_path: Path) -> None:
    (tmp_path / "model_final.pth").touch()
    screen = Screen()

    show_result(screen.console, PROGRESS, tmp_path, 75.5)

    rows = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in screen.text.splitlines()]
    assert ["digits", "bbox", "0.500", "0.812"] in rows
    assert ["digits", "segm", "0.250", "-"] in rows
    assert "total_loss 1.235  loss_cls 1  loss_mask 0.2346" in screen.text
    assert "/out/model_0000039.pth" in screen.text
    assert "0:01:15" in screen.text
    assert f"tensorboard --logdir {tmp_path}" in screen.text
    assert str(tmp_path / "model_final.pth") in screen.text
    assert "metrics.json" not in screen.text  # there is none


def test_a_failure_is_told_in_the_verdicts_words() -> None:
    screen = Screen()

    show_failure(
        screen.console, failed(Reason.NON_FINITE_LOSS, "loss_cls is NaN", rank=1, iteration=41), 1, Path("l")
    )

    assert screen.text.splitlines() == [
        "failed: NonFiniteLoss (rank 1, iteration 41)",
        "  loss_cls is NaN",
        "see l",
    ]


def test_each_problem_of_the_config_has_a_line() -> None:
    screen = Screen()
    message = "spec.config.inline: unknown key A\nspec.datasets[0].annotations: no such file"

    show_failure(screen.console, failed(Reason.INVALID_CONFIG, message), 1, Path("log.txt"))

    assert screen.text.splitlines() == [
        "failed: InvalidConfig",
        *(f"  {line}" for line in message.splitlines()),
    ]


def test_an_end_without_a_verdict_points_to_the_log() -> None:
    screen = Screen()

    show_failure(screen.console, None, -9, Path("/out/log.txt"))

    assert "status -9" in screen.text
    assert "/out/log.txt" in screen.text


def test_a_stop_says_how_to_go_on() -> None:
    saved, early, unsaved = Screen(), Screen(), Screen()
    show_stop(saved.console, PROGRESS)
    show_stop(early.console, None)
    show_stop(unsaved.console, replace(PROGRESS, last_checkpoint=None))

    assert saved.text == (
        "stopped at iteration 40; checkpoint /out/model_0000039.pth; run the same command to go on\n"
    )
    assert early.text == "stopped before the first iteration; run the same command to go on\n"
    assert unsaved.text == "stopped before there was a checkpoint; run the same command to start again\n"
