"""What an exception that ended a process means for the job."""

from __future__ import annotations

import errno
import json
from dataclasses import asdict
from typing import Self

import torch

from detectron_trainer.failures import TrainingError
from detectron_trainer.progress.parts import Reason, Verdict


class PeerFailedError(Exception):
    """Another process of the run failed first; its verdict is the run's."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict

    def to_json(self) -> str:
        return json.dumps(asdict(self.verdict))

    @classmethod
    def from_json(cls, text: str) -> Self:
        fields = json.loads(text)
        return cls(Verdict(**{**fields, "reason": Reason(fields["reason"])}))


def verdict_of(error: BaseException, rank: int) -> Verdict:
    """What `error`, which ended the process of `rank`, means for the job."""
    if isinstance(error, TrainingError):
        return Verdict(
            reason=error.reason,
            message=str(error),
            retryable=error.retryable,
            rank=rank if error.rank is None and not error.concerted else error.rank,
            iteration=error.iteration,
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Verdict(reason=Reason.OUTPUT_NOT_WRITABLE, message=str(error), retryable=False, rank=rank)
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, torch.OutOfMemoryError):
        return Verdict(reason=Reason.OUT_OF_MEMORY, message=message, retryable=False, rank=rank)
    return Verdict(reason=Reason.PROCESS_FAILED, message=message, retryable=True, rank=rank)
