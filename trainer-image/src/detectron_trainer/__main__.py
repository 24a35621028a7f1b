"""The worker, as torchrun starts it: ``torchrun --module detectron_trainer``."""

import os
import sys

from detectron_trainer.job.pod import Pod
from detectron_trainer.worker import work

if __name__ == "__main__":
    sys.exit(work(Pod.from_environment(os.environ), os.environ))
