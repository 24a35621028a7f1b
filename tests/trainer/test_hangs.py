"""A process that hangs: rank 0 says so, and saves what it has when that process is ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import urllib.request
from pathlib import Path
from typing import Any

from tests.cluster.waiting import wait_until
from tests.trainer.conftest import Launcher, free_port
from tests.trainer.test_resume import faulty_job


def idle_for(port: str, seconds: float) -> dict[str, Any] | None:
    """Rank 0's document once it tells of so many seconds without progress."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/progress") as answer:
        document: dict[str, Any] = json.loads(answer.read())
        return document if document["work"]["idleSeconds"] >= seconds else None
    return None


def process_of(folder: Path, rank: int) -> int:
    """The training process of a rank, known by its environment."""
    marks = {f"RANK={rank}", f"DETECTRON_MANIFEST={folder / 'job.yaml'}"}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (process / "environ").read_text(errors="replace").split("\0")
            if marks.issubset(environment) and "State:\tT" in (process / "status").read_text():
                return int(process.name)
    raise LookupError(f"no process of rank {rank} that stands still")


def test_rank_0_tells_of_a_peer_that_hangs_and_saves_what_it_has(launcher: Launcher, tiny_data: Path) -> None:
    port = free_port()
    run = launcher.start(
        faulty_job(tiny_data),
        processes=2,
        fault={"kind": "sigstop", "rank": 1, "step": 11},
        environment={"DETECTRON_METRICS_PORT": port},
    )
    # Nothing else in this run takes so long but its start, which is over by the eleventh iteration.
    run.wait_for_row(10)
    document = wait_until(lambda: idle_for(port, 5), 120, "rank 0 to stand still")
    assert document is not None
    assert (document["phase"], document["iteration"]) == ("Training", 11)
    assert document["work"]["trainedIterations"] == 11
    assert 0 < document["work"]["iterationSecondsP99"] < 5
    os.kill(process_of(run.folder, 1), signal.SIGKILL)
    assert run.wait() != 0
    assert run.message["lastCheckpoint"]["iteration"] == 11, run.log
