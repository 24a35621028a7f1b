"""Checkpoints: written by Detectron2's checkpointer, all or nothing, and never by an attempt that is over.

A file appears under its name when all of it is on the disk, and `last_checkpoint` names it only after that.
"""

from __future__ import annotations

import logging
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.utils.file_io import PathManager
from fvcore.common.checkpoint import PeriodicCheckpointer
from torch import nn

from detectron_trainer.atomic_file import replaced_atomically
from detectron_trainer.checkpointing.background import BackgroundWriter
from detectron_trainer.failures import (
    CheckpointCorruptError,
    OutputNotWritableError,
    TrainingError,
    WeightsRefusedError,
)

TAG = "last_checkpoint"
FINAL = "model_final.pth"
BEST = "model_best.pth"
AVERAGE = "model_ema.pth"
"""The averaged weights alone, as `weights` of another job takes them."""
TRAINING_STATE = frozenset({"model", "optimizer", "scheduler", "iteration"})
"""What a checkpoint of our own loop holds at least."""
_logger = logging.getLogger(__name__)
_NUMBERED = re.compile(r"model_(\d{7,})\.pth")


class AtomicPathManager:
    """Detectron2's `PathManager`, except that what it writes appears whole or not at all."""

    def open(self, path: str, mode: str = "r", **options: Any) -> Any:
        if "w" in mode:
            return replaced_atomically(Path(path), mode)
        return PathManager.open(path, mode, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(PathManager, name)


class AtomicCheckpointer(DetectionCheckpointer):  # type: ignore[misc]
    """`DetectionCheckpointer` with atomic saves, and loading from memory.

    `admit` is called before each save, and before its file takes its name, and raises where this process may
    not write any more; `saved` is called after it, in the thread that saves, with the file's path and the
    number of completed iterations in it.
    """

    def __init__(
        self,
        model: nn.Module,
        folder: Path,
        *,
        admit: Callable[[], None],
        saved: Callable[[Path, int], None],
        **checkpointables: object,
    ) -> None:
        super().__init__(model, str(folder), **checkpointables)
        self.path_manager = AtomicPathManager()
        self._admit = admit
        self._saved = saved
        self._background = BackgroundWriter()

    def save(self, name: str, **kwargs: Any) -> None:
        """Save as `DetectionCheckpointer` does; `kwargs` holds `iteration`, the last completed one from 0.

        Raises:
            OutputNotWritableError: the file could not be written, or one before it in the background; what
                was there before is as it was.
        """
        if self.save_to_disk:
            self.wait()
            self._admit()
            self._write(name, self._content(kwargs))
            self._saved(Path(self.save_dir, f"{name}.pth"), kwargs["iteration"] + 1)

    def save_in_background(self, name: str, afterwards: Callable[[], None], **kwargs: Any) -> None:
        """Save what is now, in a thread; `afterwards`, and an error of this save, come with a later call."""
        if self.save_to_disk:
            self.wait()
            self._admit()

            def finish() -> None:
                self._saved(Path(self.save_dir, f"{name}.pth"), kwargs["iteration"] + 1)
                afterwards()

            self._background.start(self._content(kwargs), partial(self._write, name), finish)

    def poll(self) -> None:
        """Finish the save in the background if it is written; raises what `save` does, where it failed."""
        self._background.poll()

    def wait(self) -> None:
        """Wait for the save in the background, if any; raises what `save` does, where it failed."""
        self._background.wait()

    def close(self) -> None:
        """Let the thread end that saves in the background, after what it writes."""
        self._background.close()

    def _content(self, state: Mapping[str, Any]) -> dict[str, Any]:
        parts = {name: part.state_dict() for name, part in self.checkpointables.items()}
        return {"model": self.model.state_dict(), **parts, **state}

    def _write(self, name: str, content: dict[str, Any]) -> None:
        try:
            _logger.info("saving %s.pth", name)
            with replaced_atomically(Path(self.save_dir, f"{name}.pth"), "wb") as file:
                torch.save(content, file)
                # A later attempt may have opened the folder meanwhile.
                self._admit()
            self.tag_last_checkpoint(f"{name}.pth")
        # PyTorch makes a RuntimeError of what its file object raises.
        except RuntimeError as error:
            raise OutputNotWritableError(self.save_dir, error) from error

    def begin_with(self, weights: str) -> None:
        """Load the weights of the file `weights`, whatever made it; empty leaves the model as it is.

        Raises:
            WeightsRefusedError: they cannot be read.
        """
        try:
            self.load(weights, checkpointables=[])
        except OSError:
            raise
        # Pickles of strangers fail in many ways.
        except Exception as error:
            message = f"{weights} (MODEL.WEIGHTS) holds no weights: {type(error).__name__}: {error}"
            raise WeightsRefusedError(message) from error

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Load model and checkpointables from the content of a checkpoint file.

        Raises:
            CheckpointCorruptError: it belongs to a model with other parameters or another optimizer.
        """
        try:
            incompatible = self._load_model(checkpoint)
            for key in self.checkpointables.keys() & checkpoint.keys():
                self.checkpointables[key].load_state_dict(checkpoint[key])
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointCorruptError(
                f"the checkpoint does not fit this job's model ({type(error).__name__}: {error}); "
                "use another output folder for another model"
            ) from error
        if incompatible.missing_keys or incompatible.unexpected_keys or incompatible.incorrect_shapes:
            raise CheckpointCorruptError(
                "the checkpoint is of another model than this job's: "
                f"{len(incompatible.missing_keys)} parameters are missing, "
                f"{len(incompatible.unexpected_keys)} are unknown and "
                f"{len(incompatible.incorrect_shapes)} have other shapes; use another output folder"
            )


def newest_first(folder: Path) -> list[Path]:
    """The folder's checkpoints: the one that `last_checkpoint` names, then by time of writing."""
    files = [*_numbered(folder), *folder.glob(FINAL), *folder.glob(BEST)]
    tag = folder / TAG
    last = tag.read_text(errors="replace").strip() if tag.is_file() else ""
    return sorted(
        files, key=lambda path: (path.name == last, path.stat().st_mtime_ns, path.name), reverse=True
    )


def read(path: Path, parts: Set[str] = TRAINING_STATE) -> dict[str, Any]:
    """The content of a checkpoint file on the CPU, which must hold `parts`.

    Raises:
        CheckpointCorruptError: it is cut short, damaged, or no checkpoint of a training run.
        OSError: it cannot be read for now.
    """
    try:
        # PyTorch writes checksums but does not look at them when it reads.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise  # The storage failed, not the file: the next attempt may read it.
    # A damaged archive or pickle fails in many ways, none of which is our bug.
    except Exception as error:
        raise CheckpointCorruptError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(content, dict) or not parts <= content.keys():
        raise CheckpointCorruptError(f"{path} holds no training state")
    return content


class Checkpoints:
    """When checkpoints are saved, and how many stay: each `period` iterations, at the end, and on request.

    Beside the final and the best one the newest `keep` stay, whichever life of the run wrote them. Those of
    the schedule, but for the last, are written in the background where `asynchronous` asks for it.
    """

    def __init__(
        self,
        checkpointer: AtomicCheckpointer,
        *,
        period: int,
        max_iter: int,
        keep: int,
        asynchronous: bool = False,
    ) -> None:
        self._checkpointer = checkpointer
        self._folder = Path(checkpointer.save_dir)
        self._periodic = PeriodicCheckpointer(checkpointer, period, max_iter)
        self._period = period
        self._max_iter = max_iter
        self._keep = keep
        self._asynchronous = asynchronous
        if checkpointer.save_to_disk:
            for leftover in self._folder.glob(".*.unfinished"):
                leftover.unlink()

    def is_due(self, completed: int) -> bool:
        """Whether the schedule asks for a checkpoint after `completed` iterations."""
        return completed % self._period == 0 or completed == self._max_iter

    def save(self, iteration: int, **state: object) -> None:
        """Save after `iteration` (from 0) together with `state`, on rank 0."""
        name, completed = f"model_{iteration:07d}", iteration + 1
        surplus_goes = partial(prune, self._folder, self._keep)
        if self._asynchronous and self.is_due(completed) and completed < self._max_iter:
            self._checkpointer.save_in_background(name, surplus_goes, iteration=iteration, **state)
            return
        if self.is_due(completed):
            self._periodic.step(iteration, **state)
        else:
            self._periodic.save(name, iteration=iteration, **state)
        surplus_goes()

    def poll(self) -> None:
        """Show and count the checkpoint in the background once it is written; raises where that failed."""
        self._checkpointer.poll()

    def wait(self) -> None:
        """Wait until all that is saved is written; raises where that failed."""
        self._checkpointer.wait()

    @contextmanager
    def completed(self) -> Iterator[None]:
        """See to it that what is saved inside is written when this ends, or raise why it is not."""
        try:
            yield
        except BaseException as error:
            try:
                self._checkpointer.wait()
            except TrainingError as lost:
                error.add_note(f"the checkpoint in the background is lost: {lost}")
            raise
        else:
            self._checkpointer.wait()
        finally:
            self._checkpointer.close()

    def save_weights(self, name: str, model: nn.Module) -> None:
        """Save the weights of `model` alone; no run goes on from them."""
        with replaced_atomically(self._folder / name, "wb") as file:
            torch.save({"model": model.state_dict()}, file)

    def save_best(self, iteration: int, **state: object) -> None:
        """Save in place of the best so far: as whole a checkpoint as any, which a run can go on from."""
        self._checkpointer.save(BEST.removesuffix(".pth"), iteration=iteration, **state)


def prune(folder: Path, keep: int) -> None:
    """Delete all numbered checkpoints but the newest `keep`."""
    # By time of writing: a damaged file may have a higher number than what was trained after it.
    for surplus in sorted(_numbered(folder), key=lambda path: path.stat().st_mtime_ns)[:-keep]:
        surplus.unlink()


def _numbered(folder: Path) -> list[Path]:
    return [path for path in folder.glob("model_*.pth") if _NUMBERED.fullmatch(path.name)]
