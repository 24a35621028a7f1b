"""The order of the images: the same in one life or in several, on one rank or on several."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip
from detectron2.config import get_cfg

from detectron_trainer.recipe.sampler import SAMPLERS, training_sampler

DATASET: list[dict[str, Any]] = [{"annotations": [{"category_id": 0 if n else 1}]} for n in range(10)]


def indices(name: str, count: int, *, skipped: int = 0, seed: int = 5) -> list[int]:
    cfg = get_cfg()
    cfg.DATALOADER.SAMPLER_TRAIN = name
    cfg.DATALOADER.REPEAT_THRESHOLD = 0.5
    cfg.DATALOADER.RANDOM_SUBSET_RATIO = 0.5
    return list(islice(training_sampler(cfg, DATASET, seed, skipped), count))


@pytest.mark.parametrize("name", SAMPLERS)
def test_goes_on_where_it_was(name: str) -> None:
    whole = indices(name, 35)
    assert indices(name, 12, skipped=23) == whole[23:]
    assert indices(name, 35, seed=6) != whole


def test_an_epoch_holds_each_image_once() -> None:
    assert sorted(indices("TrainingSampler", 10, skipped=20)) == list(range(10))


def test_no_other_sampler_is_known() -> None:
    with pytest.raises(ValueError, match="Mine is none of TrainingSampler"):
        indices("Mine", 1)
