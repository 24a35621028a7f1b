"""Writing a checkpoint beside training: a copy of its content in memory, and one thread that writes it.

PyTorch's own (`torch.distributed.checkpoint.async_save`) writes a folder in a format of its own, which
neither Detectron2 nor `spec.weights` reads; its copier, `DefaultStager`, fails at the second copy in 2.12.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor


class Snapshot:
    """The content of a checkpoint as it is now, in memory of the host that each next one takes over.

    New memory costs several times as much as the copying, page by page, so only the first copy is slow.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], Tensor] = {}

    def take(self, content: dict[str, Any]) -> dict[str, Any]:
        """A copy of `content` that what is copied no longer changes; it holds until the next one."""
        copies: list[tuple[Tensor, Tensor]] = []
        taken: dict[str, Any] = self._matched(content, (), copies)
        if copies:
            # In one call, as optimizers do it: one for each of hundreds of tensors takes longer.
            sources, targets = zip(*copies, strict=True)
            torch._foreach_copy_(targets, sources, non_blocking=True)
        if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.current_stream().synchronize()
        return taken

    def _matched(self, value: Any, place: tuple[object, ...], copies: list[tuple[Tensor, Tensor]]) -> Any:
        """`value` with memory of ours for its tensors; adds to `copies` which is still to be copied there."""
        if isinstance(value, Tensor):
            tensor = value.detach()
            kept = self._memory(tensor, place)
            copies.append((tensor, kept))
            return kept
        if isinstance(value, dict):
            # Shallow first: a model's state knows the versions of its modules beside its items.
            copied = copy.copy(value)
            for key, item in value.items():
                copied[key] = self._matched(item, (*place, key), copies)
            return copied
        if isinstance(value, list | tuple):
            return type(value)(
                self._matched(item, (*place, index), copies) for index, item in enumerate(value)
            )
        return copy.deepcopy(value)

    def _memory(self, tensor: Tensor, place: tuple[object, ...]) -> Tensor:
        kept = self._kept.get(place)
        if kept is None or kept.shape != tensor.shape or kept.dtype != tensor.dtype:
            kept = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
            self._kept[place] = kept
        return kept


class BackgroundWriter:
    """Runs one write at a time in a thread of its own.

    What a write has left to do in the training thread, and what it raised, waits for `poll` or `wait`.
    """

    def __init__(self) -> None:
        self._snapshot = Snapshot()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._written: Future[None] | None = None
        self._afterwards: Callable[[], None] | None = None

    def start(
        self, content: dict[str, Any], write: Callable[[dict[str, Any]], None], afterwards: Callable[[], None]
    ) -> None:
        """Copy `content` and let the thread `write` it; `afterwards` is for the training thread.

        The write before must have been waited for.
        """
        assert self._written is None
        self._written = self._thread.submit(write, self._snapshot.take(content))
        self._afterwards = afterwards

    def poll(self) -> None:
        """Finish the write if the thread is done; raises what it raised."""
        if self._written is not None and self._written.done():
            self.wait()

    def wait(self) -> None:
        """Wait for the write under way, if any, and finish it; raises what it raised."""
        written, afterwards = self._written, self._afterwards
        self._written = self._afterwards = None
        if written is not None and afterwards is not None:
            written.result()
            afterwards()

    def close(self) -> None:
        """Let the thread end, after what it writes."""
        self._thread.shutdown()
