"""The endless training batches of a rank, beginning where the run has got to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

import torch
from detectron2.config import CfgNode
from detectron2.data import (
    DatasetFromList,
    DatasetMapper,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from torch.utils.data import DataLoader

from detectron_trainer.checkpointing.lineage import Lineage, images_drawn_before
from detectron_trainer.data.readable_images import ReadableImages, Record, UnreadableImages
from detectron_trainer.data.sampler import training_sampler
from detectron_trainer.gang.world import World
from detectron_trainer.job import user_code

Batch = Sequence[Mapping[str, object]]
"""What the mapper made of a few images, as the model takes them."""

Mapper = Callable[[Record], object]
"""Makes of a dataset's record of one image, which it must not change, what the model takes."""


def own_mapper(reference: str | None, cfg: CfgNode, *, is_train: bool) -> Mapper | None:
    """What the manifest's `mapper` makes for training or evaluation; None where Detectron2's own serves."""
    if reference is None:
        return None
    mapper: Mapper = user_code.call(reference, Callable, cfg, is_train)  # type: ignore[arg-type]
    return mapper


def training_batches(
    cfg: CfgNode, world: World, lineage: Lineage, unreadable: UnreadableImages, mapper: Mapper | None = None
) -> Iterator[Batch]:
    """Batches of IMS_PER_BATCH / world size images, from where the lives before have got to.

    The lineage's `seed`, the same on all ranks and in all lives of the run, gives the order of the images.
    `mapper` reads and augments them in place of Detectron2's own. Augmentation draws from this process'
    generators or, in data-loader workers, from ones seeded by seed and iteration. Images that cannot be read
    are left out and noted in `unreadable`.
    """
    dataset = get_detection_dataset_dicts(
        cfg.DATASETS.TRAIN,
        filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS,
        min_keypoints=cfg.MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE if cfg.MODEL.KEYPOINT_ON else 0,
        proposal_files=cfg.DATASETS.PROPOSAL_FILES_TRAIN if cfg.MODEL.LOAD_PROPOSALS else None,
    )
    drawn = images_drawn_before(world.rank, world.size, lineage.images_before)
    sampler = training_sampler(cfg, dataset, lineage.seed, drawn)
    records = DatasetFromList(dataset, copy=False)
    batches = build_detection_train_loader(
        ReadableImages(records, mapper or DatasetMapper(cfg, is_train=True), unreadable),
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
