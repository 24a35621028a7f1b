"""Random number generators of all ranks, as a checkpoint holds them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

# Plain types and tensors only: PyTorch loads nothing else from a checkpoint by default.
RandomState = Mapping[str, object]


def random_state() -> RandomState:
    """The state of this process' generators: PyTorch's (CPU and current GPU), NumPy's and Python's."""
    # NumPy's types leave open whether this is a tuple or a mapping.
    numpy_state: Any = np.random.get_state(legacy=True)
    name, keys, position, has_gauss, gauss = numpy_state
    version, internal, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "numpy": [
            str(name),
            torch.from_numpy(keys.astype(np.int64)),
            int(position),
            int(has_gauss),
            float(gauss),
        ],
        "python": [version, list(internal), gauss_next],
    }


def restore_random_state(state: RandomState) -> None:
    """Set this process' generators to what `random_state` returned."""
    torch_state, cuda_state = state["torch"], state["cuda"]
    assert isinstance(torch_state, torch.Tensor)
    torch.set_rng_state(torch_state)
    if isinstance(cuda_state, torch.Tensor) and torch.cuda.is_available():
        torch.cuda.set_rng_state(cuda_state)
    numpy_state, python_state = state["numpy"], state["python"]
    assert isinstance(numpy_state, list)
    assert isinstance(python_state, list)
    name, keys, *rest = numpy_state
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    version, internal, gauss_next = python_state
    random.setstate((version, tuple(internal), gauss_next))


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Leave this process' generators as they were, whatever draws from them inside."""
    state = random_state()
    try:
        yield
    finally:
        restore_random_state(state)
