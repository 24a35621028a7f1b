"""Where the data stand after lives with other batches and world sizes, and what was edited between them."""

from __future__ import annotations

from itertools import islice

import pytest

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip
from detectron2.config import get_cfg
from detectron2.utils import comm

from detectron_trainer.checkpointing.lineage import Lineage, edits, images_drawn_before, settings_of
from detectron_trainer.checkpointing.resume import ResumePoint
from detectron_trainer.recipe.sampler import SAMPLERS, training_sampler

DATASET = [{"annotations": [{"category_id": 0 if n else 1}]} for n in range(10)]


def next_batch(
    monkeypatch: pytest.MonkeyPatch, name: str, world_size: int, images: int, batch: int
) -> list[int]:
    """What all ranks together draw next after `images` images, in the order of the whole stream."""
    cfg = get_cfg()
    cfg.DATALOADER.SAMPLER_TRAIN = name
    cfg.DATALOADER.REPEAT_THRESHOLD = 0.5
    cfg.DATALOADER.RANDOM_SUBSET_RATIO = 0.5
    drawn: dict[int, int] = {}
    monkeypatch.setattr(comm, "get_world_size", lambda: world_size)
    for rank in range(world_size):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        skipped = images_drawn_before(rank, world_size, images)
        mine = islice(training_sampler(cfg, DATASET, 5, skipped), batch // world_size)
        drawn |= {rank + (skipped + n) * world_size: index for n, index in enumerate(mine)}
    assert sorted(drawn) == list(range(images, images + batch))
    return [drawn[position] for position in sorted(drawn)]


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("images", [0, 12, 13, 30])
def test_any_world_size_draws_the_same_global_batch(
    monkeypatch: pytest.MonkeyPatch, name: str, images: int
) -> None:
    stream = next_batch(monkeypatch, name, 1, 0, 60)
    for world_size in (1, 2, 3, 4, 6):
        assert next_batch(monkeypatch, name, world_size, images, 12) == stream[images : images + 12]


def test_images_are_counted_over_lives_with_other_batches() -> None:
    first = Lineage(seed=5, start=0, images_before=0, images_per_iteration=4, settings={})
    assert first.state(6)["images"] == 24
    second = Lineage(seed=5, start=6, images_before=24, images_per_iteration=2, settings={})
    assert second.state(9)["images"] == 30


def test_edits_are_named() -> None:
    before = get_cfg()
    after = before.clone()
    after.SOLVER.BASE_LR = 0.5
    after.SOLVER.STEPS = (1, 2)
    assert edits(settings_of(before, 1), settings_of(before, 1)) == []
    assert edits(settings_of(before, 1), settings_of(after, 2)) == [
        "SOLVER.BASE_LR 0.001 -> 0.5",
        "SOLVER.STEPS [30000] -> [1, 2]",
        "processes 1 -> 2",
    ]
    assert edits({}, settings_of(after, 2)) == edits({"SOLVER.GONE": 1}, settings_of(after, 2)) == []


@pytest.mark.parametrize(("reference", "batch", "completed"), [(0, 8, 6), (2, 8, 3), (2, 5, 4)])
def test_only_the_linear_rule_moves_a_run_along_its_schedule(
    reference: int, batch: int, completed: int
) -> None:
    cfg = get_cfg()
    cfg.SOLVER.REFERENCE_WORLD_SIZE, cfg.SOLVER.IMS_PER_BATCH = reference, batch
    assert ResumePoint(completed=6, images=24).on_the_schedule_of(cfg).completed == completed
    assert ResumePoint(completed=6).on_the_schedule_of(cfg).completed == 6
