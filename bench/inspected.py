"""A job's config and what builds from it, in this process."""

from __future__ import annotations

from pathlib import Path

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

import torch

from detectron_trainer.job.manifest import Job
from detectron_trainer.job.pod import Mounts
from detectron_trainer.preflight.data import DataCheck
from detectron_trainer.preflight.inspection import Inspection, inspect


def inspected(job: Job, output: Path, processes: int = 1) -> Inspection:
    """Raises ValueError with all that is wrong with it."""
    on_gpu = torch.cuda.is_available()
    found = inspect(job, output, Mounts(), processes, data=DataCheck.NONE, gpus=on_gpu)
    if found.problems:
        raise ValueError("\n".join(map(str, found.problems)))
    return found
