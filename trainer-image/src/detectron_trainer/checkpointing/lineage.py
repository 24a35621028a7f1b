"""What a run carries from one life to the next beside weights: where its data stand and what it was told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.config import CfgNode

Settings = Mapping[str, object]
"""The config's SOLVER section and the number of processes by name, in types for a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """This life's part of the run: from iteration `start` on, when `images_before` images had been drawn.

    `seed` is of the images' order. Images are counted over all ranks, because batch and world size may change
    between two lives. `rollbacks` counts the losses that were not finite and were gone back from.
    """

    seed: int
    start: int
    images_before: int
    images_per_iteration: int
    settings: Settings
    rollbacks: int = 0

    def state(self, completed: int) -> dict[str, object]:
        """What a checkpoint after `completed` iterations says of it."""
        drawn = self.images_after(completed)
        return {
            "seed": self.seed,
            "images": drawn,
            "settings": dict(self.settings),
            "rollbacks": self.rollbacks,
        }

    def images_after(self, completed: int) -> int:
        """Images drawn by all ranks and lives when `completed` iterations are."""
        return self.images_before + (completed - self.start) * self.images_per_iteration


def settings_of(cfg: CfgNode, world_size: int) -> Settings:
    """What an edit of the manifest may change between two lives of a run."""
    return {**dict(_leaves(cfg.SOLVER, "SOLVER")), "processes": world_size}


def with_lower_rate(cfg: CfgNode, factor: float) -> CfgNode:
    """`cfg` with SOLVER.BASE_LR times `factor`."""
    lowered = cfg.clone()
    lowered.defrost()
    lowered.SOLVER.BASE_LR *= factor
    lowered.freeze()
    return lowered


def edits(before: Settings, now: Settings) -> list[str]:
    """What differs, such as ``SOLVER.BASE_LR 0.02 -> 0.01``; a setting that one of them lacks is no edit."""
    return [
        f"{name} {before[name]} -> {now[name]}"
        for name in before
        if now.get(name, before[name]) != before[name]
    ]


def images_drawn_before(rank: int, world_size: int, images: int) -> int:
    """How many of the first `images` indices of all ranks together were `rank`'s.

    Detectron2's samplers deal one endless order out in turn. Leaving out that many on each rank makes the
    next batch of all ranks the same images, whatever the world size was when the others were drawn.
    """
    return max(0, -((rank - images) // world_size))


def _leaves(node: CfgNode, prefix: str) -> Iterator[tuple[str, object]]:
    for key, value in node.items():
        if isinstance(value, CfgNode):
            yield from _leaves(value, f"{prefix}.{key}")
        else:
            yield f"{prefix}.{key}", list(value) if isinstance(value, tuple) else value
