"""The endless training batches of a rank, beginning where the run has got to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

import torch
from detectron2.config import CfgNode
from detectron2.data import (
    DatasetFromList,
    build_detection_train_loader,
)
from torch.utils.data import DataLoader

from detectron_trainer.checkpointing.lineage import Lineage, images_drawn_before
from detectron_trainer.data.readable_images import ReadableImages, UnreadableImages
from detectron_trainer.gang.world import World
from detectron_trainer.recipe.recipe import Recipe

Batch = Sequence[Mapping[str, object]]
"""What the mapper made of a few images, as the model takes them."""


def training_batches(
    recipe: Recipe, cfg: CfgNode, world: World, lineage: Lineage, unreadable: UnreadableImages
) -> Iterator[Batch]:
    """Batches of IMS_PER_BATCH / world size images, from where the lives before have got to.

    The lineage's `seed`, the same on all ranks and in all lives of the run, gives the order of the images.
    Augmentation draws from this process' generators or, in data-loader workers, from ones seeded by seed and
    iteration. Images that cannot be read are left out and noted in `unreadable`.
    """
    records = recipe.training_records(cfg)
    drawn = images_drawn_before(world.rank, world.size, lineage.images_before)
    sampler = recipe.sampler(cfg, records, lineage.seed, drawn)
    batches = build_detection_train_loader(
        ReadableImages(DatasetFromList(records, copy=False), recipe.training_mapper(cfg), unreadable),
        mapper=None,
        sampler=sampler,
        total_batch_size=cfg.SOLVER.IMS_PER_BATCH,
        aspect_ratio_grouping=cfg.DATALOADER.ASPECT_RATIO_GROUPING,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
    _seed_workers(batches, lineage.seed + lineage.start)
    return cast("Iterator[Batch]", iter(batches))


def _seed_workers(batches: object, seed: int) -> None:
    """Give the data loader a generator of its own: starting it then draws nothing from the process'."""
    while not isinstance(batches, DataLoader) and hasattr(batches, "dataset"):
        batches = batches.dataset
    if isinstance(batches, DataLoader):
        batches.generator = torch.Generator()
        batches.generator.manual_seed(seed)
