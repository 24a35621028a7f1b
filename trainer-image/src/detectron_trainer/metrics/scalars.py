"""What the names of Detectron2's scalars mean.

Source: `detectron2.engine.train_loop.SimpleTrainer.write_metrics` for losses,
`detectron2.evaluation.coco_evaluation` and `detectron2.engine.hooks.EvalHook` for average precision.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real

TOTAL_LOSS = "total_loss"

_AVERAGE_PRECISION = re.compile(
    r"(?:(?P<dataset>.+?)/)?(?P<task>[^/]+)/AP(?:(?P<kind>\d*|[a-z])|-(?P<category>.+))"
)


@dataclass(frozen=True, kw_only=True)
class AveragePrecision:
    """What an average precision is about.

    `kind` is one of COCO's and LVIS' (AP, AP50, AP75, APs, APm, APl, APr, APc, APf); `category` is the class
    that it is limited to, or None for the mean over all. `dataset` is empty where the name does not tell.
    """

    dataset: str
    task: str
    kind: str = "AP"
    category: str | None = None

    @classmethod
    def parse(cls, name: str) -> AveragePrecision | None:
        """The meaning of a scalar named ``[dataset/]task/AP*``, None for any other scalar."""
        match = _AVERAGE_PRECISION.fullmatch(name)
        if match is None:
            return None
        return cls(
            dataset=match["dataset"] or "",
            task=match["task"],
            kind=f"AP{match['kind'] or ''}",
            category=match["category"],
        )


def is_component_loss(name: str) -> bool:
    """Whether the scalar is one of the terms that `total_loss` is the sum of.

    Scoped names (``validation/loss_cls``) are of something else than the model being trained.
    """
    return "loss" in name and "/" not in name and not name.endswith(TOTAL_LOSS)


def flatten(
    results: Mapping[str, object], path: tuple[str, ...] = ()
) -> Iterable[tuple[tuple[str, ...], float]]:
    """The numbers in an evaluator's nested results, each with the names that lead to it."""
    for name, value in results.items():
        if isinstance(value, Mapping):
            yield from flatten(value, (*path, name))
        elif isinstance(value, Real):
            yield (*path, name), float(value)
