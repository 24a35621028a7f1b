"""A life of a job: what a process that trains finds around itself."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

import torch
from detectron2.config import CfgNode
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import EventWriter
from prometheus_client import CollectorRegistry

from detectron_trainer.atomic_file import replaced_atomically
from detectron_trainer.checkpointing.attempts import Fence
from detectron_trainer.checkpointing.weights import shared_weights
from detectron_trainer.gang.world import World
from detectron_trainer.job.manifest import Job
from detectron_trainer.job.pod import Pod
from detectron_trainer.metrics.trackers import mlflow_writer, wandb_writer
from detectron_trainer.progress.board import ProgressBoard
from detectron_trainer.progress.parts import Verdict
from detectron_trainer.recipe.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Life:
    """What to train on this rank, where, with whom, and whom to tell.

    `recipe` builds what the config describes, of which `cfg` has the settings. `clock` tells the time of day,
    `leave` ends this process with a verdict; `downloads` is the folder that weights are downloaded to.
    """

    job: Job
    cfg: CfgNode
    recipe: Recipe
    pod: Pod
    world: World
    board: ProgressBoard
    registry: CollectorRegistry
    clock: Callable[[], datetime]
    leave: Callable[[Verdict], None]
    downloads: Path

    @cached_property
    def fence(self) -> Fence:
        """What keeps the output folder from an attempt that is over."""
        return Fence(self.pod.output, self.pod.attempt, self.pod.job_uid)

    def open_output(self) -> None:
        """On rank 0: take possession of the output folder and note the config in it."""
        self.fence.open()
        with replaced_atomically(self.pod.output / "config.yaml", "w") as file:
            file.write(self.recipe.dump(self.cfg))

    def weights(self, *, here: bool) -> str:
        """A local path for MODEL.WEIGHTS on the ranks that read it, empty for none; see `shared_weights`."""
        weights = self.job.spec.weights
        sha256 = weights.sha256 if weights is not None else None
        return shared_weights(self.world, self.cfg.MODEL.WEIGHTS, sha256, self.downloads, here=here)

    def trackers(self) -> list[EventWriter]:
        """The writers for the experiment trackers that the job names, on rank 0."""
        name, metrics = self.job.metadata.name, self.job.spec.metrics
        folder = self.pod.output
        writers: list[EventWriter] = []
        if (wandb := metrics.wandb) is not None:
            project, entity, mode = wandb.project, wandb.entity, wandb.mode
            writers.append(wandb_writer(folder, name, project=project, entity=entity, mode=mode))
        if (mlflow := metrics.mlflow) is not None:
            server, experiment = mlflow.tracking_uri, mlflow.experiment
            writers.append(
                mlflow_writer(folder, name, self.clock, tracking_uri=server, experiment=experiment)
            )
        return writers

    def prepare(self, cfg: CfgNode, earlier_seed: int | None) -> int:
        """Seed all generators, each rank's differently, and apply the config's settings of PyTorch.

        All ranks call it. Returns the seed they share: the config's, else that of the run's earlier life,
        else one that rank 0 draws.
        """
        seed = self._agreed_seed(cfg, earlier_seed)
        seed_all_rng(seed + self.world.rank)
        torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
        if cfg.get("FLOAT32_PRECISION"):
            torch.set_float32_matmul_precision(cfg.FLOAT32_PRECISION)
        return seed

    def _agreed_seed(self, cfg: CfgNode, earlier: int | None) -> int:
        if cfg.SEED >= 0:
            return int(cfg.SEED)
        return earlier if earlier is not None else self.world.broadcast(secrets.randbelow(2**31))
