"""Bounds on the number of series, which is set by what models name their scalars."""

from __future__ import annotations

from detectron_trainer.metrics.scalars import AveragePrecision

MAX_LOSSES = 64
MAX_SCALARS = 200
MAX_PRECISIONS = 200


class _Series:
    """Admits the first `limit` names that ask."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._admitted: set[object] = set()
        self.refused: set[object] = set()

    def admit(self, name: object) -> bool:
        if name not in self._admitted and len(self._admitted) >= self._limit:
            self.refused.add(name)
            return False
        self._admitted.add(name)
        return True


class SeriesLimits:
    """Keeps the number of series bounded whatever a model names its scalars."""

    def __init__(self, categories: int) -> None:
        self.losses = _Series(MAX_LOSSES)
        self.scalars = _Series(MAX_SCALARS)
        self._precisions = _Series(MAX_PRECISIONS)
        self._category_limit = categories
        self._categories: dict[tuple[str, str], _Series] = {}

    def admit_precision(self, about: AveragePrecision) -> bool:
        if about.category is None:
            return self._precisions.admit(about)
        if self._category_limit == 0:
            return False
        key = (about.dataset, about.task)
        return self._categories.setdefault(key, _Series(self._category_limit)).admit(about)

    @property
    def dropped(self) -> int:
        series = (self.losses, self.scalars, self._precisions, *self._categories.values())
        return sum(len(one.refused) for one in series)
