"""`detectron-trainer` as a person starts it: on a terminal, in a pipe, interrupted, with mistakes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.trainer import tiny
from tests.trainer.conftest import RUN_SECONDS, rows

SCRIPT = Path(sys.executable).with_name("detectron-trainer")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def manifest(tmp_path: Path, tiny_data: Path) -> Path:
    """The tiny job with its data in a volume, as two nodes of one process."""
    job = tiny.job(Path("/data"), spec={"numNodes": 2})
    job["spec"]["volumes"] = [{"name": "data", "claimName": "tiny-data", "mountPath": "/data"}]
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps(job))
    return path


@pytest.fixture
def run_options(tmp_path: Path, tiny_data: Path, manifest: Path) -> list[str]:
    """Two processes, all output in one folder, any port."""
    return [
        *("run", str(manifest), "--volume", f"data={tiny_data}", "--metrics-port", "0"),
        *("--output", str(tmp_path / "output")),
    ]


def trainer(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command in a pipe."""
    return subprocess.run(
        [str(SCRIPT), *arguments],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
        **options,
    )


class Terminal:
    """The command on a terminal of its own, 100 columns wide."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            os.execve(SCRIPT, [str(SCRIPT), *arguments], {**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "100"})
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self._shown = b""
        self._deadline = time.monotonic() + RUN_SECONDS

    @property
    def text(self) -> str:
        """Everything shown so far, without colours and cursor movements."""
        return _ESCAPES.sub("", self._shown.decode(errors="replace")).replace("\r", "")

    def press_ctrl_c(self) -> None:
        os.write(self._file, b"\x03")

    def wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            assert self._read(), f"it ended too early:\n{self.text}"

    def wait(self) -> int:
        """Read to the end; returns the exit code."""
        while self._read():
            pass
        os.close(self._file)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> int:
        """Close the terminal; returns the exit code."""
        os.close(self._file)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> bool:
        """Read what is shown next, if anything within moments; False at the end."""
        assert time.monotonic() < self._deadline, f"not within {RUN_SECONDS} s:\n{self.text}"
        if not select.select([self._file], [], [], 0.05)[0]:
            return True
        try:
            chunk = os.read(self._file, 65536)
        except OSError:  # how Linux says that the other side has closed a terminal
            return False
        self._shown += chunk
        return bool(chunk)


def test_a_terminal_shows_a_bar_and_the_results(run_options: list[str], tmp_path: Path) -> None:
    terminal = Terminal(run_options)
    status = terminal.wait()

    assert status == 0, terminal.text
    assert "2 nodes of 1 process run here as 2 processes" in terminal.text
    assert re.search(r"metrics at http://localhost:\d+/metrics", terminal.text)
    assert re.search(r"Finished ━+ +12/12 loss [\d.]+ +lr [\d.e-]+", terminal.text)
    for task in ("bbox", "segm"):
        assert re.search(rf"tiny_test │ {task} │ ", terminal.text)
    assert f"tensorboard --logdir {tmp_path}/output" in terminal.text
    assert " INFO " not in terminal.text
    assert "iter: 11" in (tmp_path / "output/log.txt").read_text()
    assert (tmp_path / "output/model_final.pth").is_file()


def parsed(metrics: str) -> dict[str, float]:
    """Samples by name and label value."""
    families = text_string_to_metric_families(metrics)
    samples = (sample for family in families for sample in family.samples)
    return {" ".join([sample.name, *sample.labels.values()]): sample.value for sample in samples}


def test_a_pipe_shows_lines_and_metrics_are_those_of_metrics_json(
    run_options: list[str], tmp_path: Path
) -> None:
    with subprocess.Popen(
        [str(SCRIPT), *run_options],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines, metrics, port = [], "", None
        for line in process.stdout:
            lines.append(line)
            if found := re.search(r"http://localhost:(\d+)/metrics", line):
                port = found[1]
            if "iter: 5 " in line:
                address = f"http://127.0.0.1:{port}/metrics"
                with urllib.request.urlopen(address, timeout=10) as answer:
                    metrics = answer.read().decode()
    output, samples = "".join(lines), parsed(metrics)

    assert process.returncode == 0, output
    assert "\x1b" not in output
    assert [f"iter: {n} " in output for n in range(12)] == [True] * 12
    assert "tiny_test │ segm" in output
    assert samples["detectron_training_max_iterations"] == 12
    assert re.search(r'training_info\{[^}]*model="GeneralizedRCNN"[^}]*world_size="2"', metrics)
    row = rows(tmp_path / "output")[int(samples["detectron_training_iteration"])]
    assert samples["detectron_training_total_loss"] == row["total_loss"]
    assert samples["detectron_training_learning_rate"] == row["lr"]
    for loss in ("loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc"):
        assert samples[f"detectron_training_loss {loss}"] == row[loss]


def test_ctrl_c_saves_and_the_same_command_goes_on(run_options: list[str], tmp_path: Path) -> None:
    output = tmp_path / "output"
    terminal = Terminal([*run_options, "--set", "SOLVER.MAX_ITER 400", "--set", "SOLVER.STEPS (300,)"])
    terminal.wait_until(lambda: len(rows(output)) >= 3)
    terminal.press_ctrl_c()
    status = terminal.wait()

    assert status == 130, terminal.text
    told = re.search(r"stopped at iteration (\d+); checkpoint (\S+);", terminal.text)
    assert told, terminal.text
    stopped = int(told[1])
    assert Path(told[2]).is_file()
    assert "run the same command to go on" in terminal.text
    assert [row["iteration"] for row in rows(output)] == list(range(stopped))

    again = trainer(*run_options, "--set", f"SOLVER.MAX_ITER {stopped + 2}", "--set", "SOLVER.STEPS (300,)")

    assert again.returncode == 0, again.stdout
    assert [row["iteration"] for row in rows(output) if "lr" in row] == list(range(stopped + 2))
    assert (output / "attempt").read_text() == "1\n"


def test_a_second_ctrl_c_ends_it_at_once(run_options: list[str], tmp_path: Path, manifest: Path) -> None:
    job = json.loads(manifest.read_text())
    # A plugin that takes the stop away from the worker, as a hanging one would.
    (tmp_path / "stubborn.py").write_text(
        "import detectron_trainer.gang.stop\n"
        "detectron_trainer.gang.stop.StopRequest._receive = lambda *arguments: print('not now', flush=True)\n"
    )
    job["spec"]["plugins"] = ["stubborn"]
    job["spec"]["env"] = [{"name": "PYTHONPATH", "value": str(tmp_path)}]
    manifest.write_text(json.dumps(job))
    terminal = Terminal([*run_options, "--nproc", "1", "--set", "SOLVER.MAX_ITER 100000"])
    terminal.wait_until(lambda: len(rows(tmp_path / "output")) >= 2)
    terminal.press_ctrl_c()
    terminal.wait_until(lambda: "again to stop at once" in terminal.text)
    terminal.press_ctrl_c()

    assert terminal.wait() == 130, terminal.text
    written = len(rows(tmp_path / "output"))
    assert no_worker_writes(tmp_path / "output", written)


def no_worker_writes(output: Path, written: int) -> bool:
    """Whether all workers are gone, which is when nobody holds the metrics file open."""
    descriptors = (path for path in Path("/proc").glob("[0-9]*/fd/*") if path.is_symlink())
    held = [path for path in descriptors if _target(path) == str(output / "metrics.json")]
    return not held and len(rows(output)) == written


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # the process has ended meanwhile
        return ""


def test_a_failure_is_told_with_all_its_problems(run_options: list[str], tiny_data: Path) -> None:
    outcome = trainer(*run_options, "--set", "SOLVER.BASE_LRR 0.1", "--set", "SOLVER.IMS_PER_BATCH 3")

    assert outcome.returncode == 1
    told = outcome.stdout[outcome.stdout.index("failed: InvalidConfig") :].splitlines()
    assert any("did you mean SOLVER.BASE_LR?" in line for line in told)
    assert any("SOLVER.IMS_PER_BATCH 3" in line for line in told)


def test_check_finds_everything_at_once(manifest: Path, tiny_data: Path) -> None:
    volume = ("--volume", f"data={tiny_data}")

    good = trainer("check", str(manifest), *volume)
    bad = trainer(
        "check", str(manifest), *volume, "--set", "SOLVER.BASE_LRR 1", "--set", "SOLVER.IMS_PER_BATCH 3"
    )

    assert (good.returncode, good.stderr) == (0, "")
    assert "no problems; 12 iterations of 4 images on 2 processes" in good.stdout
    assert bad.returncode == 2
    assert bad.stderr.splitlines()[0] == f"{manifest}: 2 problems"
    assert "did you mean SOLVER.BASE_LR?" in bad.stderr
    assert "SOLVER.IMS_PER_BATCH 3" in bad.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml: there is no such file"),
        (["run"], "the following arguments are required: JOB.yaml"),
        (["train"], "invalid choice: 'train'"),
        (["run", "job.yaml", "--outptu", "x"], "unrecognized arguments: --outptu"),
        (["run", "job.yaml", "--volume", "data"], "'data' should be NAME=DIR"),
        (["run", "job.yaml", "--nproc", "0"], "'0' should be a number above 0"),
        (["run", "job.yaml", "--metrics-port", "99999"], "'99999' should be a port"),
        (["run", "job.yaml"], "--volume data=DIR"),
        (["run", "job.yaml", "--volume", "data=nowhere"], "there is no such folder"),
        (["run", "job.yaml", "--volume", "data=.", "--output", "/proc/x"], "--output /proc/x"),
    ],
)
def test_a_wrong_command_is_answered_in_one_line(manifest: Path, arguments: list[str], message: str) -> None:
    outcome = trainer(*arguments, cwd=manifest.parent)

    assert outcome.returncode == 2
    assert outcome.stdout == ""
    assert message in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1


def test_a_manifest_with_mistakes_is_refused_with_all_of_them(manifest: Path) -> None:
    job = json.loads(manifest.read_text())
    job["spec"]["numNode"] = job["spec"].pop("numNodes")
    job["spec"]["metrics"] = {"period": "often"}
    manifest.write_text(json.dumps(job))

    outcome = trainer("run", str(manifest))

    assert outcome.returncode == 2
    assert "spec.numNode: unknown field, did you mean numNodes?" in outcome.stderr
    assert "spec.metrics.period" in outcome.stderr


def test_help_does_not_wait_for_torch() -> None:
    program = (
        "import sys\n"
        "from detectron_trainer.command.cli import main\n"
        "try: main(['run', '--help'])\n"
        "except SystemExit: print(sorted({'torch', 'detectron2', 'rich', 'pydantic'} & sys.modules.keys()))"
    )
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "--volume NAME=DIR" in outcome.stdout
    assert outcome.stdout.splitlines()[-1] == "[]"


def is_saved_where_it_stopped(output: Path) -> bool:
    """Whether the newest checkpoint holds the last iteration that was trained."""
    return (output / "last_checkpoint").read_text() == f"model_{int(rows(output)[-1]['iteration']):07d}.pth"


def test_a_closed_terminal_saves_too(run_options: list[str], tmp_path: Path) -> None:
    output = tmp_path / "output"
    terminal = Terminal([*run_options, "--nproc", "1", "--set", "SOLVER.MAX_ITER 100000"])
    terminal.wait_until(lambda: len(rows(output)) >= 2)

    assert terminal.close() == 128 + signal.SIGHUP
    assert is_saved_where_it_stopped(output)


def test_a_reader_that_goes_away_ends_the_run_in_order(run_options: list[str], tmp_path: Path) -> None:
    with subprocess.Popen(
        [str(SCRIPT), *run_options, "--nproc", "1", "--set", "SOLVER.MAX_ITER 100000"],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if "iter: 2 " in line:
                break
        process.stdout.close()
        errors = process.stderr.read()

    assert (process.returncode, errors) == (128 + signal.SIGPIPE, "")
    assert is_saved_where_it_stopped(tmp_path / "output")
