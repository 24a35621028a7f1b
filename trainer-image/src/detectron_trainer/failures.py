"""The ways a run can end before its last iteration, each with the verdict that it amounts to."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from detectron_trainer.progress.parts import Reason


@dataclass(frozen=True, order=True)
class Problem:
    """Something to correct: where in the manifest (``spec.config.inline``) and what."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


_LASTING = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR})


class TrainingError(Exception):
    """An end of the run that names its reason.

    Attributes:
        reason: the verdict's word for it.
        retryable: whether the same job could go further in another attempt.
        concerted: whether every rank raises it at the same point, so that one of each pod speaks for all.
        iteration: completed iterations, where they say something.
        rank: where it began, where that is known.
    """

    reason: ClassVar[Reason] = Reason.PROCESS_FAILED
    retryable: bool = True
    concerted: ClassVar[bool] = False

    def __init__(self, message: str, *, iteration: int | None = None, rank: int | None = None) -> None:
        super().__init__(message)
        self.iteration = iteration
        self.rank = rank


class InvalidConfigError(TrainingError):
    """The manifest, its config or its data cannot be trained with; holds every problem found."""

    reason = Reason.INVALID_CONFIG
    retryable = False
    concerted = True

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


class NonFiniteLossError(TrainingError):
    """A loss was NaN or infinite on some rank; no rank applied that step."""

    reason = Reason.NON_FINITE_LOSS
    retryable = False
    concerted = True


class LoopLossNotFiniteError(TrainingError):
    """The user's own loop found a loss that is not finite, on the rank that raises this."""

    reason = Reason.NON_FINITE_LOSS
    retryable = False


class UnreadableImagesError(TrainingError):
    """More training images than the manifest allows could not be read; the state is saved."""

    reason = Reason.UNREADABLE_IMAGES
    retryable = False
    concerted = True


class PreemptedError(TrainingError):
    """The run was asked to stop and its state is saved."""

    reason = Reason.PREEMPTED
    concerted = True


class CheckpointCorruptError(TrainingError):
    """Checkpoints exist and none can be read, or what they hold does not fit the model."""

    reason = Reason.CHECKPOINT_CORRUPT
    retryable = False
    concerted = True


class WeightsRefusedError(TrainingError):
    """No attempt will get the weights to start from: no such file, or not the one meant, or no weights."""

    reason = Reason.INVALID_CONFIG
    retryable = False


class WeightsUnavailableError(TrainingError):
    """The weights to start from could not be downloaded for now."""

    reason = Reason.WEIGHTS_UNAVAILABLE


class OutputNotWritableError(TrainingError):
    """The output directory takes no files: full, read-only, or of another user; or it is gone for now."""

    reason = Reason.OUTPUT_NOT_WRITABLE

    def __init__(self, folder: object, cause: BaseException) -> None:
        super().__init__(f"{folder} cannot be written: {cause}")
        self.retryable = not _is_lasting(cause)


class FencedError(TrainingError):
    """A newer attempt has opened the output directory; this one must not write to it any more."""


def _is_lasting(error: BaseException | None) -> bool:
    """Whether `error`, or what it arose from, is one that the same job would meet again."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error is not None and error.errno in _LASTING
