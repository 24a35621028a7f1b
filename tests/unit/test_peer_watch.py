"""Who waits for a peer that has failed does not wait for ever."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from detectron_trainer.gang.peer_watch import PeerWatch
from detectron_trainer.progress.parts import Reason, Verdict
from detectron_trainer.verdict import PeerFailedError

OUT_OF_MEMORY = Verdict(reason=Reason.OUT_OF_MEMORY, message="x", retryable=False, rank=1)


@dataclass
class Board:
    """Holds what a peer has posted; `ended` stands for the end of rank 0."""

    posted: str | None = None
    ended: bool = False

    def posted_verdict(self) -> str | None:
        if self.ended:
            raise RuntimeError("connection closed")
        return self.posted


class Exit:
    """Takes the place of the end of the process."""

    def __init__(self) -> None:
        self.verdict: Verdict | None = None
        self.called = threading.Event()

    def __call__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.called.set()


def test_leaves_with_the_peer_s_verdict() -> None:
    board, leave = Board(), Exit()
    with PeerWatch(board, leave, poll_seconds=0.001, patience_seconds=0.001):
        board.posted = PeerFailedError(OUT_OF_MEMORY).to_json()
        assert leave.called.wait(10)
    assert leave.verdict == OUT_OF_MEMORY


def test_leaves_when_rank_0_has_ended_without_a_word() -> None:
    board, leave = Board(), Exit()
    with PeerWatch(board, leave, poll_seconds=0.001, patience_seconds=0.001):
        board.ended = True
        assert leave.called.wait(10)
    assert leave.verdict is not None
    assert (leave.verdict.reason, leave.verdict.rank) == (Reason.PROCESS_FAILED, 0)


def test_a_process_that_notices_by_itself_leaves_by_itself() -> None:
    board, leave = Board(posted=PeerFailedError(OUT_OF_MEMORY).to_json()), Exit()
    with PeerWatch(board, leave, poll_seconds=0.001, patience_seconds=60):
        pass
    assert not leave.called.is_set()
