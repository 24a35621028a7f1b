"""``detectron-trainer check``: what a job comes to and what is wrong with it, for people and programs."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from detectron_trainer.command.local_run import mount, read
from detectron_trainer.command.terminal import say
from detectron_trainer.failures import InvalidConfigError, Problem
from detectron_trainer.job.pod import Mounts
from detectron_trainer.preflight.data import DataCheck, DatasetReport
from detectron_trainer.preflight.inspection import Inspection, inspect
from detectron_trainer.preflight.survey import Survey
from detectron_trainer.progress.document import Progress
from detectron_trainer.progress.parts import Phase, Reason, Verdict
from detectron_trainer.progress.termination_message import write_termination_message

EXIT_INVALID = 2
_CLASSES_SHOWN = 20


@dataclass(frozen=True)
class Checked:
    """The job at `path` for `processes`, as far as it could be inspected."""

    path: Path
    processes: int
    problems: Sequence[Problem]
    inspection: Inspection | None = None
    evaluates_only: bool = False

    @property
    def warnings(self) -> Sequence[Problem]:
        return self.inspection.warnings if self.inspection is not None else ()

    @property
    def warned(self) -> Sequence[str]:
        """One line a warning."""
        return [f"warning: {each}" for each in self.warnings]

    @property
    def summary(self) -> str:
        """One line: how many problems, or what the job comes to."""
        if self.inspection is None or self.problems:
            return _count(len(self.problems), "problem")
        solver, epochs = self.inspection.cfg.SOLVER, self.inspection.epochs
        rounds = "" if epochs is None else f", {epochs:.3g} epochs"
        processes = _count(self.processes, "process", "es")
        if self.evaluates_only:
            return f"no problems; an evaluation on {processes}"
        iterations = f"{solver.MAX_ITER} iterations of {solver.IMS_PER_BATCH} images"
        return f"no problems; {iterations} on {processes}{rounds}"


def check(
    path: Path, overrides: Sequence[str], volumes: Mapping[str, Path], code: Mapping[str, Path]
) -> Checked:
    """Inspect the job at `path` for the processes and GPUs that it asks for, whatever this machine has.

    Raises:
        UsageError: there is no such file, or `volumes` or `code` are not those of the job.
    """
    try:
        job = read(path, overrides)
        mounts = Mounts(mount(job, volumes, code))
        processes = job.spec.num_nodes * job.spec.processes_per_node
        gpus = job.spec.resources_per_node.gpus > 0
        with tempfile.TemporaryDirectory() as output:
            found = inspect(job, Path(output), mounts, processes, data=DataCheck.WHOLE, gpus=gpus)
    except InvalidConfigError as error:
        return Checked(path, 0, error.problems)
    return Checked(path, processes, found.problems, found, job.spec.evaluation.only)


def show(checked: Checked) -> None:
    """For a person: the classes of each dataset, then what is wrong, and the summary."""
    console = Console()
    for report in checked.inspection.datasets if checked.inspection is not None else ():
        found, dataset = report.survey, report.dataset
        say(
            console,
            f"{dataset.name} ({dataset.split}): {found.images} images, {found.annotations} annotations",
        )
        console.print(_class_table(found))
    for warning in checked.warned:
        say(console, warning)
    if checked.problems:
        lines = [f"{checked.path}: {checked.summary}", *(f"  {problem}" for problem in checked.problems)]
        print("\n".join(lines), file=sys.stderr)
    else:
        say(console, f"{checked.path}: {checked.summary}")


def to_json(checked: Checked) -> str:
    """For a program; see docs/check.md for the fields."""
    document: dict[str, object] = {
        "problems": [asdict(problem) for problem in checked.problems],
        "warnings": [asdict(warning) for warning in checked.warnings],
    }
    if checked.inspection is not None:
        found = checked.inspection
        document["training"] = {
            "iterations": found.cfg.SOLVER.MAX_ITER,
            "imagesPerIteration": found.cfg.SOLVER.IMS_PER_BATCH,
            "processes": checked.processes,
            "images": found.training_images,
            "epochs": found.epochs,
        }
        document["datasets"] = [_dataset(report) for report in found.datasets]
    return json.dumps(document, indent=2)


def write_verdict(checked: Checked, termination_log: Path) -> None:
    """For a pod: the verdict in the words of a training pod, `InvalidConfig` or `Completed`."""
    found = list(map(str, checked.problems))
    verdict = Verdict(
        reason=Reason.INVALID_CONFIG if found else Reason.COMPLETED,
        message="\n".join(found or [checked.summary, *checked.warned]),
        retryable=False,
    )
    progress = Progress(
        phase=Phase.FINISHED,
        attempt=0,
        world_size=max(1, checked.processes),
        iteration=0,
        last_updated_time=datetime.now(UTC),
        verdict=verdict,
    )
    write_termination_message(termination_log, progress)


def _dataset(report: DatasetReport) -> dict[str, object]:
    return {
        "name": report.dataset.name,
        "split": report.dataset.split,
        "images": report.survey.images,
        "imagesLookedFor": report.sought,
        "annotations": report.survey.annotations,
        "classes": [asdict(one) for one in report.survey.classes],
    }


def _class_table(found: Survey) -> Table:
    """The most frequent classes first; of many the rarest are shown too."""
    classes = sorted(found.classes, key=lambda one: -one.instances)
    table = Table("class")
    table.add_column("instances", justify="right")
    table.add_column("images", justify="right")
    hidden = max(0, len(classes) - _CLASSES_SHOWN)
    top = len(classes) if not hidden else _CLASSES_SHOWN // 2
    for one in classes[:top]:
        table.add_row(one.name, str(one.instances), str(one.images))
    if hidden:
        table.add_row(f"... {hidden} between", "", "")
        for one in classes[-(_CLASSES_SHOWN - top) :]:
            table.add_row(one.name, str(one.instances), str(one.images))
    return table


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}{plural}"
