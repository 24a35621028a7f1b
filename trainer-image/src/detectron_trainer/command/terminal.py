"""What a person sees of a local run: a bar on a terminal, plain lines elsewhere, a summary at the end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from detectron_trainer.metrics.scalars import TOTAL_LOSS, AveragePrecision, is_component_loss
from detectron_trainer.progress.document import Progress
from detectron_trainer.progress.parts import Evaluation, Reason

_NOTEWORTHY = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b")
_KINDS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


class Display(Protocol):
    """Shows a run while it goes on."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def line(self, text: str) -> None:
        """A line of the workers' output."""

    def progress(self, progress: Progress) -> None:
        """Where the run stands now."""


class PlainDisplay:
    """Every line as the workers print it: for log files and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def line(self, text: str) -> None:
        say(self._console, text)

    def progress(self, progress: Progress) -> None:
        """Nothing: the lines tell it."""


class BarDisplay:
    """A progress bar with the latest values, and above it the workers' warnings."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[values]}"),
            console=console,
            refresh_per_second=4,
            expand=True,
        )
        self._bar = self._bars.add_task("Starting", total=None, values="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def line(self, text: str) -> None:
        if _NOTEWORTHY.search(text):
            say(self._console, text)

    def progress(self, progress: Progress) -> None:
        self._bars.update(
            self._bar,
            description=progress.phase,
            completed=progress.iteration,
            total=progress.max_iterations,
            values=latest_values(progress),
        )


def display_for(console: Console) -> Display:
    return BarDisplay(console) if console.is_terminal else PlainDisplay(console)


def say(console: Console, text: str) -> None:
    """Print `text` as it is: no markup, no wrapping, colours of its own kept where there is a terminal."""
    console.print(Text.from_ansi(text), soft_wrap=True, highlight=False)


def latest_values(progress: Progress) -> str:
    """Loss, learning rate, time left and AP, as far as they are known."""
    named = []
    if TOTAL_LOSS in progress.metrics:
        named.append(f"loss {progress.metrics[TOTAL_LOSS]:.4g}")
    if "lr" in progress.metrics:
        named.append(f"lr {progress.metrics['lr']:.3g}")
    if progress.evaluation is not None and progress.evaluation.average_precision is not None:
        named.append(f"AP {progress.evaluation.average_precision:.3f}")
    if progress.estimated_remaining_seconds is not None:
        named.append(f"ETA {timedelta(seconds=int(progress.estimated_remaining_seconds))}")
    return "  ".join(named)


def show_result(console: Console, progress: Progress, output: Path, seconds: float) -> None:
    """The end of a completed run: AP by task, losses, the last checkpoint, and where to look."""
    if progress.evaluation is not None:
        console.print(average_precision_table(progress.evaluation))
    losses = {
        name: value
        for name, value in progress.metrics.items()
        if name == TOTAL_LOSS or is_component_loss(name)
    }
    if losses:
        say(console, "losses        " + "  ".join(f"{name} {value:.4g}" for name, value in losses.items()))
    if progress.last_checkpoint is not None:
        say(console, f"checkpoint    {progress.last_checkpoint.path}")
    say(console, f"iterations    {progress.iteration}; this run took {timedelta(seconds=int(seconds))}")
    for what, where in places(output).items():
        say(console, f"{what:<14}{where}")


def places(output: Path) -> Mapping[str, str]:
    """Where to look, of what there is."""
    wanted = {
        "model": output / "model_final.pth",
        "values": output / "metrics.json",
        "log": output / "log.txt",
    }
    found = {what: str(path) for what, path in wanted.items() if path.exists()}
    return {**found, "curves": f"tensorboard --logdir {output}"}


def average_precision_table(evaluation: Evaluation) -> Table:
    """One row for each dataset and task, as ratios."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for name, value in evaluation.metrics.items():
        about = AveragePrecision.parse(name)
        if about is not None and about.category is None:
            rows.setdefault((about.dataset, about.task), {})[about.kind] = value
    kinds = [kind for kind in _KINDS if any(kind in row for row in rows.values())]
    table = Table("dataset", "task")
    for kind in kinds:
        table.add_column(kind, justify="right")
    for (dataset, task), row in rows.items():
        table.add_row(dataset, task, *(f"{row[kind]:.3f}" if kind in row else "-" for kind in kinds))
    return table


def show_failure(console: Console, progress: Progress | None, status: int, log: Path) -> None:
    """Why a run failed, in the words of the process that failed first."""
    verdict = progress.verdict if progress is not None else None
    if verdict is None:
        say(console, f"failed: the workers ended with status {status} and left no verdict; see {log}")
        return
    where = [
        f"{name} {value}"
        for name, value in (("rank", verdict.rank), ("iteration", verdict.iteration))
        if value is not None
    ]
    say(console, f"failed: {verdict.reason}" + (f" ({', '.join(where)})" if where else ""))
    for line in verdict.message.splitlines():
        say(console, f"  {line}")
    if verdict.reason is not Reason.INVALID_CONFIG:
        say(console, f"see {log}")


def show_stop(console: Console, progress: Progress | None) -> None:
    """How far a stopped run came, and how to go on."""
    if progress is None:
        say(console, "stopped before the first iteration; run the same command to go on")
    elif progress.last_checkpoint is None:
        say(console, "stopped before there was a checkpoint; run the same command to start again")
    else:
        saved = progress.last_checkpoint
        say(
            console,
            f"stopped at iteration {saved.iteration}; checkpoint {saved.path}; run the same command to go on",
        )
