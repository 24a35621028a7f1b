"""What a pod runs: torchrun, which starts the workers, and an end that tells how the first one failed.

torchrun makes 1 of every failure. Here it is the exit code of the first worker to fail, or 128 and the number
of the signal that ended it, as in a shell: the kubelet shows it, and failure policies can tell them apart. A
worker that a signal ended, the kernel's for lack of memory say, cannot leave a verdict: it is left here.

torchrun heeds signals only once it has started workers. Until then it waits for its peers, in code that
Python's signal handlers cannot interrupt, and the kernel spares the first process of a container signals that
it does not handle: a gang that is still gathering would outstay its grace period. So a thread heeds them.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from types import FrameType

from torch.distributed import run
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from detectron_trainer.gang.torchrun_agent import END_FOR_GOOD
from detectron_trainer.job.pod import Pod
from detectron_trainer.progress.document import Progress
from detectron_trainer.progress.parts import Phase, Reason, Verdict
from detectron_trainer.progress.termination_message import write_termination_message

_SIGNALLED = 128


def main() -> int:
    """Run torchrun on the PET_* variables of the environment; returns the pod's exit code."""
    began = datetime.now(UTC)
    _heed_signals_until_workers_start()
    try:
        run.main(["--module", "detectron_trainer"])
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            _speak_for(rank, signal.Signals(-failure.exitcode), os.environ, began)
        return exit_code(failure.exitcode)
    except SignalException as error:
        return 1 if error.sigval == END_FOR_GOOD else _SIGNALLED + error.sigval
    return 0


def exit_code(of_process: int) -> int:
    """As a shell has it, of a return code of `subprocess`, which is negative for a signal."""
    return of_process if of_process >= 0 else _SIGNALLED - of_process


def _heed_signals_until_workers_start() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _left_to_the_thread)
    threading.Thread(target=_end_when_told, args=[reading], name="early signals", daemon=True).start()


def _left_to_the_thread(_number: int, _frame: FrameType | None) -> None:
    """torchrun puts its own handler in this one's place when it starts workers."""


def _end_when_told(reading: int) -> None:
    while True:
        (number,) = os.read(reading, 1)
        if signal.getsignal(number) is _left_to_the_thread:
            os._exit(_SIGNALLED + number)


def _speak_for(rank: int, ended_by: signal.Signals, environment: Mapping[str, str], began: datetime) -> None:
    """Leave the verdict of a worker that a signal ended, unless another one left one first.

    Of the training this process knows only how it was before it began, so the document is as old as that.
    """
    pod = Pod.from_environment(environment)
    nodes = int(environment["PET_NNODES"].rpartition(":")[2])
    verdict = Verdict(
        reason=Reason.PROCESS_FAILED,
        message=f"rank {rank} was ended by {ended_by.name}",
        retryable=True,
        rank=rank,
    )
    document = Progress(
        phase=Phase.STARTING,
        attempt=pod.attempt,
        world_size=nodes * int(environment["PET_NPROC_PER_NODE"]),
        iteration=0,
        last_updated_time=began,
        verdict=verdict,
    )
    write_termination_message(pod.termination_log, document)


if __name__ == "__main__":
    sys.exit(main())
