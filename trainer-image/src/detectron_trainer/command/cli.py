"""The command line: train a DetectronTrainingJob on this machine, or check it without training.

Heavy modules are imported by the commands that need them, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn, cast

if TYPE_CHECKING:
    from rich.console import Console

    from detectron_trainer.command.local_run import LocalRun
    from detectron_trainer.command.torchrun import Interruptions
    from detectron_trainer.progress.document import Progress

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_SIGNAL = 128
"""Plus the signal's number: 130 after Ctrl-C, as shells have it."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    options = _parser().parse_args(arguments)
    from detectron_trainer.command.local_run import UsageError
    from detectron_trainer.failures import InvalidConfigError

    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except UsageError as error:
        print(f"detectron-trainer: {error}", file=sys.stderr)
    except InvalidConfigError as error:
        print(f"{options.job}:", *error.problems, sep="\n  ", file=sys.stderr)
    return EXIT_USAGE


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="detectron-trainer",
        allow_abbrev=False,
        description="Train a DetectronTrainingJob with Detectron2 on this machine, without a cluster.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="train the job here", allow_abbrev=False)
    run.set_defaults(command=_run)
    check = commands.add_parser(
        "check", help="show everything that is wrong with the job, without training", allow_abbrev=False
    )
    check.set_defaults(command=_check)
    for command in (run, check):
        command.add_argument("job", type=Path, metavar="JOB.yaml", help="manifest of the job")
        command.add_argument(
            "--volume",
            action="append",
            default=[],
            type=_folder,
            metavar="NAME=DIR",
            help="folder that stands for the volume NAME of the manifest; once for each volume",
        )
        command.add_argument(
            "--code",
            action="append",
            default=[],
            type=_folder,
            metavar="NAME=DIR",
            help="folder that stands for the ConfigMap NAME of spec.code; once for each",
        )
        command.add_argument(
            "--set",
            action="append",
            default=[],
            dest="overrides",
            metavar='"KEY VALUE"',
            help='config override on top of the manifest\'s, such as "SOLVER.MAX_ITER 100"',
        )
    check.add_argument(
        "--output",
        choices=("text", "json"),
        default="text",
        help="text for people (default), json for programs",
    )
    check.add_argument(
        "--termination-log", type=Path, metavar="FILE", help="write the verdict there as a training pod does"
    )
    run.add_argument(
        "--output", type=Path, metavar="DIR", help="checkpoints and metrics; runs/<job's name> by default"
    )
    run.add_argument(
        "--nproc", type=_positive, metavar="N", help="training processes; by default as the job asks for"
    )
    run.add_argument(
        "--metrics-port", type=_port, default=9464, metavar="PORT", help="default: %(default)s; 0 for any"
    )
    return parser


def _folder(text: str) -> tuple[str, Path]:
    name, separator, folder = text.partition("=")
    if not (name and separator and folder):
        raise argparse.ArgumentTypeError(f"{text!r} should be NAME=DIR")
    return name, Path(folder)


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} should be a number above 0")
    return int(text)


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"{text!r} should be a port, 0 to 65535")
    return int(text)


def _check(options: argparse.Namespace) -> int:
    from detectron_trainer.command.check import EXIT_INVALID, check, show, to_json, write_verdict

    checked = check(options.job, options.overrides, dict(options.volume), dict(options.code))
    if options.output == "json":
        print(to_json(checked))
    else:
        show(checked)
    if options.termination_log is not None:
        write_verdict(checked, options.termination_log)
    return EXIT_INVALID if checked.problems else 0


def _run(options: argparse.Namespace) -> int:
    from rich.console import Console

    from detectron_trainer.command.lasting_output import LastingOutput
    from detectron_trainer.command.local_run import explain_processes, from_the_shell
    from detectron_trainer.command.terminal import say
    from detectron_trainer.command.torchrun import Interruptions

    run = _prepare(options)
    interruptions = Interruptions()
    console = Console(file=cast(IO[str], LastingOutput(sys.stdout, interruptions.output_is_gone)))
    for stored in from_the_shell(run.job, os.environ):
        say(console, f"{stored}: this shell's environment stands in for it")
    note = explain_processes(run.job, run.processes)
    if note is not None:
        say(console, note)
    say(console, f"output in {run.output}, metrics at http://localhost:{run.metrics_port}/metrics")
    return _train(run, console, interruptions)


def _prepare(options: argparse.Namespace) -> LocalRun:
    from detectron_trainer.command.local_run import (
        LOG,
        LocalRun,
        Machine,
        UsageError,
        count_processes,
        free_port,
        mount,
        next_attempt,
        read,
    )

    job = read(options.job, options.overrides)
    mounts = mount(job, dict(options.volume), dict(options.code))
    machine = Machine.here()
    output: Path = (options.output or Path("runs") / job.metadata.name).resolve()
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / LOG).touch()
    except OSError as error:
        raise UsageError(f"--output {output}: {error.strerror}") from error
    return LocalRun(
        job=job,
        output=output,
        mounts=mounts,
        processes=count_processes(job, machine, options.nproc),
        cores=machine.cores,
        metrics_port=free_port(options.metrics_port),
        attempt=next_attempt(output),
    )


def _train(run: LocalRun, console: Console, interruptions: Interruptions) -> int:
    from detectron_trainer.command.local_run import LOG
    from detectron_trainer.command.terminal import display_for, say
    from detectron_trainer.command.torchrun import fetch_progress, read_termination_log, supervise

    started, log = time.monotonic(), run.output / LOG
    with tempfile.TemporaryDirectory(prefix="detectron-trainer-") as name:
        folder = Path(name)
        (folder / "job.json").write_text(run.manifest())
        with interruptions.listening(), display_for(console) as display:

            def show_progress() -> None:
                progress = fetch_progress(run.metrics_port)
                if progress is not None:
                    display.progress(progress)

            status = supervise(
                run.command,
                run.environment(os.environ, folder),
                log=log,
                interruptions=interruptions,
                on_line=display.line,
                on_tick=show_progress,
                on_stop=lambda: say(console, "stopping: saving a checkpoint (again to stop at once)"),
            )
            final = read_termination_log(folder / "termination-log")
            if final is not None:
                display.progress(final)
    return _conclude(run, console, final, status, interruptions.first, time.monotonic() - started)


def _conclude(
    run: LocalRun,
    console: Console,
    final: Progress | None,
    status: int,
    interruption: int | None,
    seconds: float,
) -> int:
    from detectron_trainer.command.local_run import LOG
    from detectron_trainer.command.terminal import show_failure, show_result, show_stop

    if status == 0 and final is not None:
        show_result(console, final, run.output, seconds)
        return 0
    if interruption is not None:
        show_stop(console, final)
        return EXIT_SIGNAL + interruption
    show_failure(console, final, status, run.output / LOG)
    return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
