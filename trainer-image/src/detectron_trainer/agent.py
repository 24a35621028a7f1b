"""What a pod runs: torchrun, which starts the workers, and an exit code that tells how the first one failed.

torchrun makes 1 of every failure. Here it is the exit code of the first worker to fail, or 128 and the number
of the signal that ended it, as in a shell: the kubelet shows it, and failure policies can tell them apart.
"""

from __future__ import annotations

import sys

from torch.distributed import run
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from detectron_trainer.gang.torchrun_agent import END_FOR_GOOD

_SIGNALLED = 128


def main() -> int:
    """Run torchrun on the PET_* variables of the environment; returns the pod's exit code."""
    try:
        run.main(["--module", "detectron_trainer"])
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return exit_code(failure.exitcode)
    except SignalException as error:
        return 1 if error.sigval == END_FOR_GOOD else _SIGNALLED + error.sigval
    return 0


def exit_code(of_process: int) -> int:
    """As a shell has it, of a return code of `subprocess`, which is negative for a signal."""
    return of_process if of_process >= 0 else _SIGNALLED - of_process


if __name__ == "__main__":
    sys.exit(main())
