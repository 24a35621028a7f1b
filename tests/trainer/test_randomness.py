"""Random number generators over a checkpoint."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch

from detectron_trainer.checkpointing.randomness import kept_random_state, random_state, restore_random_state


def draws() -> tuple[float, float, float, float]:
    return random.random(), random.gauss(), float(np.random.normal()), float(torch.rand(()))


def test_goes_on_where_a_checkpoint_was_saved(tmp_path: Path) -> None:
    draws()  # leaves NumPy's and Python's second normal value waiting
    torch.save({"random_states": [random_state()]}, tmp_path / "state.pth")
    expected = [draws() for _ in range(3)]
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    restore_random_state(torch.load(tmp_path / "state.pth")["random_states"][0])
    assert [draws() for _ in range(3)] == expected


def test_what_draws_inside_leaves_no_trace() -> None:
    state = random_state()
    expected = draws()
    restore_random_state(state)
    with kept_random_state():
        draws()
    assert draws() == expected
