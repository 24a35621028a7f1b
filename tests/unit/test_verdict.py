"""What the end of a process means for the job."""

from __future__ import annotations

import errno
import pickle

import pytest
import torch

from detectron_trainer.failures import (
    CheckpointCorruptError,
    FencedError,
    InvalidConfigError,
    NonFiniteLossError,
    OutputNotWritableError,
    PreemptedError,
    Problem,
)
from detectron_trainer.progress.parts import Reason, Verdict
from detectron_trainer.verdict import PeerFailedError, verdict_of


@pytest.mark.parametrize(
    ("error", "reason", "retryable", "rank"),
    [
        (InvalidConfigError([Problem("spec", "x")]), Reason.INVALID_CONFIG, False, None),
        (NonFiniteLossError("x", rank=1, iteration=5), Reason.NON_FINITE_LOSS, False, 1),
        (PreemptedError("x", iteration=5), Reason.PREEMPTED, True, None),
        (CheckpointCorruptError("x"), Reason.CHECKPOINT_CORRUPT, False, None),
        (FencedError("x"), Reason.PROCESS_FAILED, True, 2),
        (torch.OutOfMemoryError("x"), Reason.OUT_OF_MEMORY, False, 2),
        (KeyError("x"), Reason.PROCESS_FAILED, True, 2),
        (OSError(errno.ENOSPC, "x"), Reason.OUTPUT_NOT_WRITABLE, False, 2),
        (OutputNotWritableError("/output", OSError(errno.EIO, "x")), Reason.OUTPUT_NOT_WRITABLE, True, 2),
        (OutputNotWritableError("/output", OSError(errno.ENOSPC, "x")), Reason.OUTPUT_NOT_WRITABLE, False, 2),
    ],
)
def test_each_error_has_its_verdict(
    error: Exception, reason: Reason, retryable: bool, rank: int | None
) -> None:
    verdict = verdict_of(error, rank=2)
    assert (verdict.reason, verdict.retryable, verdict.rank) == (reason, retryable, rank)
    assert verdict.iteration == getattr(error, "iteration", None)


def test_a_full_disk_is_found_behind_what_pytorch_makes_of_it() -> None:
    outer = RuntimeError("PytorchStreamWriter failed")
    outer.__context__ = OSError(errno.ENOSPC, "No space left on device")
    assert not OutputNotWritableError("/output", outer).retryable


def test_problems_are_named_once_and_in_order() -> None:
    error = InvalidConfigError([Problem("spec.b", "y"), Problem("spec.a", "x"), Problem("spec.b", "y")])
    assert str(error) == "spec.a: x\nspec.b: y"


def test_errors_travel_between_ranks() -> None:
    error = pickle.loads(pickle.dumps(CheckpointCorruptError("cut short", iteration=3)))
    assert (str(error), error.iteration) == ("cut short", 3)


def test_a_peer_s_verdict_travels() -> None:
    verdict = Verdict(reason=Reason.OUT_OF_MEMORY, message="x", retryable=False, rank=1)
    assert PeerFailedError.from_json(PeerFailedError(verdict).to_json()).verdict == verdict
