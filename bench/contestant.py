"""One process of a run that takes turns: `python -m bench.contestant NAME`, the rest in its environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng

from bench.inspected import inspected
from detectron_trainer import worker
from detectron_trainer.gang.world import join
from detectron_trainer.job.manifest import read_job
from detectron_trainer.job.pod import Pod
from examples.user_code import plain_loop


def default_trainer(cfg: CfgNode, resume: bool) -> None:
    """Detectron2's own trainer, with all of its hooks."""
    trainer = DefaultTrainer(cfg)
    trainer.resume_or_load(resume=resume)
    trainer.train()


LOOPS: dict[str, Callable[[CfgNode, bool], None]] = {
    "plain": plain_loop.main,
    "simple": default_trainer,
    "amp": default_trainer,
}
"""The loops that are not ours; for "amp" the manifest enables SOLVER.AMP, which makes it AMPTrainer."""


def main(name: str) -> None:
    """Train until nobody gives this process a turn any more."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    pod = Pod.from_environment(os.environ)
    if name not in LOOPS:
        sys.exit(worker.work(pod, os.environ))
    job = read_job(Path(os.environ["DETECTRON_MANIFEST"]))
    cfg = inspected(job, pod.output, int(os.environ["WORLD_SIZE"])).cfg
    with join(os.environ, cfg.MODEL.DEVICE):
        worker.configure_logging(comm.get_rank())
        seed_all_rng(cfg.SEED + comm.get_rank())
        # Detectron2's sampler draws a seed of its own; with the config's, all loops see the same images.
        comm.shared_random_seed = lambda: cfg.SEED
        LOOPS[name](cfg, False)


if __name__ == "__main__":
    main(sys.argv[1])
