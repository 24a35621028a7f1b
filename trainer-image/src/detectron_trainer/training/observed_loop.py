"""Following a training loop that is not ours.

Every Detectron2 loop moves an `EventStorage` from one iteration to the next and saves by a
`DetectionCheckpointer`. While a loop is observed, these two say when an iteration is complete, which is when
metrics are reported and a wish to stop is granted, and every checkpoint appears whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.utils.events import EventStorage
from fvcore.common.checkpoint import Checkpointer

from detectron_trainer.checkpointing.checkpoint import AtomicPathManager, prune
from detectron_trainer.failures import OutputNotWritableError
from detectron_trainer.gang.stop import StopRequest
from detectron_trainer.gang.world import World
from detectron_trainer.metrics.scalars import AveragePrecision
from detectron_trainer.progress.parts import Phase
from detectron_trainer.training.reporter import Reporter


class LoopStopped(BaseException):
    """The run was asked to stop and is saved; no `Exception`, so that a loop's own handlers let it pass."""

    def __init__(self, completed: int) -> None:
        super().__init__(f"stopped after {completed} iterations")
        self.completed = completed


class ObservedLoop:
    """What is known of the loop: its storage, its checkpointer of `folder`, its iterations.

    All ranks move their storage on once an iteration, as Detectron2's loops do. `dataset` is the one that
    average precisions without a name are of. The newest `keep` checkpoints stay beside the final one; `admit`
    is called before each save and raises where this process may not write any more.
    """

    def __init__(
        self,
        world: World,
        reporter: Reporter,
        stop: StopRequest,
        folder: Path,
        *,
        max_iter: int,
        dataset: str,
        keep: int,
        admit: Callable[[], None],
    ) -> None:
        self._world = world
        self._reporter = reporter
        self._stop = stop
        self._folder = folder
        self._max_iter = max_iter
        self._dataset = dataset
        self._keep = keep
        self._admit = admit
        self._storage: EventStorage | None = None
        self._checkpointer: DetectionCheckpointer | None = None
        self._completed = -1
        self._saved = -1

    @property
    def reached(self) -> int:
        """Iterations that are complete or saved, as far as the loop has let know; -1 if it has not."""
        return max(self._completed, self._saved)

    @contextmanager
    def observed(self) -> Iterator[None]:
        """Observe the loop that runs inside.

        Raises:
            LoopStopped: on all ranks after the same iteration, from the statement that begins the next one.
        """
        with ExitStack() as restored:
            for owner, changed in (
                (EventStorage, self._storage_methods()),
                (
                    DetectionCheckpointer,
                    {"__init__": self._init(DetectionCheckpointer.__init__)},
                ),
                (Checkpointer, {"save": self._save(Checkpointer.save)}),
            ):
                for name, method in changed.items():
                    restored.callback(setattr, owner, name, vars(owner)[name])
                    setattr(owner, name, method)
            yield

    def complete(self, storage: EventStorage) -> None:
        """The iteration that `storage` is at is over; further calls in the same iteration do nothing.

        Raises:
            LoopStopped: on all ranks, if one was asked to stop before the last iteration was over.
        """
        completed = storage.iter + 1
        if storage is not self._storage or completed <= self._completed:
            return
        self._completed = completed
        self._reporter.completed(completed)
        stop = self._world.any(self._stop.made) and completed < self._max_iter
        self._report_evaluation(storage)
        if stop or self._reporter.is_due(completed):
            self._reporter.write()
        if stop:
            self._leave(completed)

    def _leave(self, completed: int) -> NoReturn:
        if self._checkpointer is not None and self._saved != completed:
            self._checkpointer.save(f"model_{completed - 1:07d}", iteration=completed - 1)
        raise LoopStopped(completed)

    def _report_evaluation(self, storage: EventStorage) -> None:
        """Average precisions that were put at this iteration, by the names of Detectron2's EvalHook."""
        results: dict[str, dict[str, dict[str, float]]] = {}
        for name, (value, at) in storage.latest().items():
            about = AveragePrecision.parse(name) if at == storage.iter else None
            if about is not None:
                task = results.setdefault(about.dataset or self._dataset, {}).setdefault(about.task, {})
                task[name.rsplit("/", 1)[-1]] = value
        if results:
            self._reporter.evaluation(results, min(storage.iter + 1, self._max_iter))

    def _storage_methods(self) -> dict[str, object]:
        position: property = vars(EventStorage)["iter"]
        enter, leave = EventStorage.__enter__, EventStorage.__exit__

        def move(storage: EventStorage, iteration: int) -> None:
            if iteration > storage.iter:
                self.complete(storage)
            position.__set__(storage, iteration)

        def step(storage: EventStorage) -> None:
            move(storage, storage.iter + 1)

        def enter_observed(storage: EventStorage) -> EventStorage:
            if self._storage is None:
                self._storage, self._completed = storage, storage.iter
                self._reporter.phase(Phase.TRAINING)
            result: EventStorage = enter(storage)
            return result

        def leave_observed(storage: EventStorage, *error: Any) -> None:
            if self._storage is not None and storage is self._storage:
                completed = min(storage.iter + 1, self._max_iter)
                if error[0] is None and completed > self._completed:
                    self._completed = completed
                    self._reporter.completed(completed)
                # Without a vote: where one rank has failed, the others are not here.
                self._report_evaluation(storage)
                self._reporter.write()
                self._storage = None
            leave(storage, *error)

        return {
            "iter": position.setter(move),
            "step": step,
            "__enter__": enter_observed,
            "__exit__": leave_observed,
        }

    def _init(self, original: Callable[..., None]) -> Callable[..., None]:
        def init(checkpointer: DetectionCheckpointer, *args: Any, **kwargs: Any) -> None:
            original(checkpointer, *args, **kwargs)
            checkpointer.path_manager = AtomicPathManager()
            # One without an optimizer is there to load weights.
            if self._is_ours(checkpointer) and checkpointer.checkpointables:
                self._checkpointer = checkpointer

        return init

    def _is_ours(self, checkpointer: Checkpointer) -> bool:
        return bool(checkpointer.save_dir) and Path(checkpointer.save_dir).resolve() == self._folder.resolve()

    def _save(self, original: Callable[..., None]) -> Callable[..., None]:
        def save(checkpointer: Checkpointer, name: str, **kwargs: Any) -> None:
            if not (self._is_ours(checkpointer) and checkpointer.save_to_disk):
                original(checkpointer, name, **kwargs)
                return
            self._admit()
            self._reporter.phase(Phase.CHECKPOINTING)
            try:
                original(checkpointer, name, **kwargs)
            # PyTorch makes a RuntimeError of what its file object raises.
            except (OSError, RuntimeError) as error:
                raise OutputNotWritableError(checkpointer.save_dir, error) from error
            prune(self._folder, self._keep)
            self._reporter.phase(Phase.TRAINING)
            if "iteration" in kwargs:
                self._saved = int(kwargs["iteration"]) + 1
                self._reporter.checkpoint(self._folder / f"{name}.pth", self._saved)

        return save
