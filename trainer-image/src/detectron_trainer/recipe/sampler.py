"""The order of the training images, and how it goes on after a restart."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence, Sized

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

import torch
from detectron2.config import CfgNode
from detectron2.data.samplers import RandomSubsetTrainingSampler, RepeatFactorTrainingSampler, TrainingSampler
from torch.utils.data import Sampler

SAMPLERS = ("TrainingSampler", "RepeatFactorTrainingSampler", "RandomSubsetTrainingSampler")
"""What DATALOADER.SAMPLER_TRAIN may name."""


class ContinuedSampler(Sampler[int]):
    """A rank's endless stream of indices without the first `skipped` of them.

    Detectron2's training samplers are pure functions of their seed, so leaving out what earlier lives of the
    run have drawn continues the order.

    Exact without data-loader workers or with one, and images of one orientation. Otherwise Detectron2 itself
    trains images out of the sampler's order: aspect-ratio grouping holds back at most a rank's batch less one
    image until its orientation fills a batch, and each data-loader worker has a batch under way. That few
    images at a restart are drawn again, and as many wait for the next epoch. The iterations are exact always.
    """

    def __init__(self, sampler: Sampler[int], skipped: int) -> None:
        self._sampler = sampler
        self._skipped = skipped

    def __iter__(self) -> Iterator[int]:
        return itertools.islice(iter(self._sampler), self._skipped, None)


def training_sampler(
    cfg: CfgNode, dataset: Sequence[object] | Sized, seed: int, skipped: int
) -> Sampler[int]:
    """The sampler that DATALOADER.SAMPLER_TRAIN names, less the first `skipped` indices of each rank.

    `seed` must be the same on all ranks.
    """
    size = len(dataset)
    name = cfg.DATALOADER.SAMPLER_TRAIN
    if name == "RepeatFactorTrainingSampler":
        factors: torch.Tensor = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(
            dataset, cfg.DATALOADER.REPEAT_THRESHOLD
        )
        sampler = RepeatFactorTrainingSampler(factors, seed=seed)
    elif name == "RandomSubsetTrainingSampler":
        ratio = cfg.DATALOADER.RANDOM_SUBSET_RATIO
        sampler = RandomSubsetTrainingSampler(size, ratio, seed_shuffle=seed, seed_subset=seed)
    elif name == "TrainingSampler":
        sampler = TrainingSampler(size, seed=seed)
    else:
        raise ValueError(f"DATALOADER.SAMPLER_TRAIN {name} is none of {', '.join(SAMPLERS)}")
    return ContinuedSampler(sampler, skipped)
