"""Leaving when a peer has failed and this process does not notice.

A broken gloo connection raises at once. NCCL waits on the GPU for ranks that are gone, and a process that is
between two exchanges hears nothing, so a thread looks at what the peers post.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from detectron_trainer.progress.parts import Reason, Verdict
from detectron_trainer.verdict import PeerFailedError

POLL_SECONDS = 2.0
PATIENCE_SECONDS = 30.0
"""Time for the main thread to notice by itself, or to finish a checkpoint."""


class Posts(Protocol):
    """Where failing processes post their verdicts, such as a `World`."""

    def posted_verdict(self) -> str | None:
        """The first verdict posted; raises RuntimeError where the store's process has ended."""


class PeerWatch:
    """While entered, calls `leave` with the verdict of a failed peer that the main thread outlives too long.

    `leave` runs in the watching thread and is expected to end the process.
    """

    def __init__(
        self,
        posts: Posts,
        leave: Callable[[Verdict], None],
        *,
        poll_seconds: float = POLL_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._posts = posts
        self._leave = leave
        self._poll_seconds = poll_seconds
        self._patience_seconds = patience_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peer-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if error is None:
            # The store goes away with the process group.
            self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(self._poll_seconds):
            verdict = self._failure()
            if verdict is not None:
                if not self._over.wait(self._patience_seconds):
                    self._leave(verdict)
                return

    def _failure(self) -> Verdict | None:
        try:
            posted = self._posts.posted_verdict()
        except RuntimeError as error:
            message = f"rank 0, which keeps the store, has ended: {error}"
            return Verdict(reason=Reason.PROCESS_FAILED, message=message, retryable=True, rank=0)
        return PeerFailedError.from_json(posted).verdict if posted is not None else None
