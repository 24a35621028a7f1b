"""All naive changes."""

from __future__ import annotations

from tests.naive.change import NaiveChange
from tests.naive.runs import IN_RUNS
from tests.naive.training import IN_TRAINING

CHANGES: tuple[NaiveChange, ...] = (*IN_TRAINING, *IN_RUNS)
