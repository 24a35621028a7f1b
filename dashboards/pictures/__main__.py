"""`python -m dashboards.pictures`: keep what a Prometheus answers to the boards, and draw them from it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from dashboards.boards import BOARDS
from dashboards.pictures import answers, drawing, model
from dashboards.pictures.answers import Span

FOLDER = Path(__file__).parents[2] / "docs" / "boards"
ANSWERS = FOLDER / "answers.json"
SAMPLES = 150
"""Of a line, about."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Record or draw."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.pictures", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    recorder = commands.add_parser("record", help="ask a Prometheus now, and draw")
    recorder.add_argument("url", help="such as http://127.0.0.1:9090")
    recorder.add_argument("--minutes", type=float, default=30, help="how far back; 30 by default")
    recorder.add_argument("--job", required=True, help="the job that the Job board shows")
    recorder.add_argument(
        "--window", type=int, default=60, help="seconds that rates look back, 4 scrapes at least"
    )
    commands.add_parser("draw", help="draw what was recorded")
    given = parser.parse_args(arguments)
    if given.command == "record":
        now = time.time()
        try:
            record(given.url, now - 60 * given.minutes, now, given.job, given.window)
        except OSError as error:
            parser.exit(1, f"error: {given.url} as a Prometheus: {error}\n")
    draw()


def record(url: str, start: float, end: float, job: str, window: int) -> None:
    """Keep what the Prometheus at an address answers of the time between two Unix times."""
    span = Span(start, end, max(round((end - start) / SAMPLES), 1))
    variables = {
        "training_job": job,
        "loss": "loss_mask",
        "__rate_interval": f"{window}s",
        "__range": f"{round(end - start)}s",
        "__interval": f"{span.step:g}s",
    }
    boards = [model.parse(board.to_json()) for board in BOARDS]
    FOLDER.mkdir(exist_ok=True)
    ANSWERS.write_text(answers.record(boards, variables, span, answers.prometheus(url)).to_json())


def draw() -> None:
    """Draw every board into the docs."""
    kept = answers.from_json(ANSWERS.read_text())
    for board in BOARDS:
        (FOLDER / f"{board.uid}.svg").write_text(drawing.draw(model.parse(board.to_json()), kept))


if __name__ == "__main__":
    main()
