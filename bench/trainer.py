"""How fast the trainer is: `python -m bench.trainer`.

A Mask R-CNN with the zoo's R50-FPN trains on the same images, from the same weights, in the tutorial's plain
loop, in Detectron2's DefaultTrainer, in ours, and in ours with what speeds it up. All are there at once and
take turns of a few iterations in changing order, so that a machine that gets slower does so for all; what
counts is the ratio of two turns of the same round. Then what of our step goes into metrics, and how long a
save stops it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

import torch

from bench import report, trainer_costs, trainer_report
from bench.calibrated import write_weights
from bench.turns import Run, started
from detectron_trainer.job.manifest import parse_job
from tests.trainer import tiny

LEVERS = {"channelsLast": True, "foldFrozenBatchNorm": True}
CONTESTANTS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "simple": {},
    "ours": {},
    "levers": {"training": LEVERS},
    "levers-bf16": {"training": {**LEVERS, "precision": "bfloat16"}},
}
ON_GPU: Mapping[str, Mapping[str, Any]] = {"amp": {}}
"""AMPTrainer, which Detectron2 has for GPUs alone."""
WARM_UP = 2
MODEL = """
MODEL:
  META_ARCHITECTURE: TakesTurns
  RPN: {BATCH_SIZE_PER_IMAGE: 64, PRE_NMS_TOPK_TRAIN: 200, POST_NMS_TOPK_TRAIN: 100}
  ROI_HEADS: {BATCH_SIZE_PER_IMAGE: 64, NUM_CLASSES: 3}
  ROI_BOX_HEAD: {FC_DIM: 256}
"""
"""What makes an iteration of the zoo's Mask R-CNN short enough for a CPU; a GPU takes it as it is."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print tables and curves, and write the numbers."""
    parser = argparse.ArgumentParser(prog="python -m bench.trainer", description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=6, help="(default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=4, help="a turn (default: %(default)s)")
    parser.add_argument("--images", type=int, default=2, help="a process (default: %(default)s)")
    parser.add_argument("--size", type=int, help="pixels of an image's side (default: 128, on a GPU 800)")
    parser.add_argument("--contestants", nargs="+", default=list(CONTESTANTS), help="(default: all)")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    chosen = parser.parse_args(arguments)
    on_gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if on_gpu else "CPU, one thread a process"
    facts = {**report.machine(), "torch": torch.__version__, "device": device}
    print("  ".join(f"{name}: {value}" for name, value in facts.items()), flush=True)
    known = {**CONTESTANTS, **(ON_GPU if on_gpu else {})}
    numbers: dict[str, Any] = {"machine": facts}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(Path(folder), chosen.images, chosen.size or (800 if on_gpu else 128), on_gpu)
        for processes in chosen.processes:
            names = [name for name in known if name in chosen.contestants or name in ON_GPU]
            results = bench.race({name: known[name] for name in names}, processes, chosen)
            print(trainer_report.race(results, processes, chosen.iterations), flush=True)
            numbers[f"{processes} processes"] = [dataclasses.asdict(found) for found in results]
        costs = trainer_costs.measure(parse_job(json.dumps(bench.manifest({}, 1))), Path(folder))
        step = trainer_report.step_seconds(numbers, chosen.iterations)
        print(trainer_report.costs(costs, step))
    numbers["costs"] = dataclasses.asdict(costs)
    if chosen.json:
        chosen.json.write_text(json.dumps(numbers, indent=1) + "\n")


class Bench:
    """Data and first weights in `folder`, and the races that are run on them."""

    def __init__(self, folder: Path, images: int, size: int, on_gpu: bool) -> None:
        self._folder, self._images, self._size, self._on_gpu = folder, images, size, on_gpu
        for split, count, seed in (("train", 64, 1), ("test", 2, 2)):
            tiny.write_dataset(folder / split, count, seed)
        self._weights = folder / "weights.pth"
        random = self.manifest({"weights": {"random": True}}, 1)
        write_weights(parse_job(json.dumps(random)), self._weights)

    def manifest(
        self, spec: Mapping[str, Any], processes: int, *, amp: bool = False, seed: int = 7
    ) -> dict[str, Any]:
        """The job of one contestant; `spec` holds what it asks for in place of what all do."""
        size = f"[{self._size}]"
        job = tiny.job(
            self._folder,
            spec={
                "plugins": ["bench.turns"],
                "weights": {"source": str(self._weights)},
                "metrics": {"period": 20},
                **spec,
            },
            overrides=(
                f"INPUT.MIN_SIZE_TRAIN {size}",
                f"INPUT.MAX_SIZE_TRAIN {self._size}",
                "INPUT.RANDOM_FLIP none",
                "DATALOADER.NUM_WORKERS 0",
                f"SOLVER.IMS_PER_BATCH {self._images * processes}",
                "SOLVER.BASE_LR 0.0005",
                "SOLVER.WARMUP_ITERS 1",
                "SOLVER.MAX_ITER 100000",
                "SOLVER.STEPS [90000]",
                "SOLVER.CHECKPOINT_PERIOD 100000",
                f"SOLVER.AMP.ENABLED {amp}",
                "TEST.EVAL_PERIOD 0",
                f"SEED {seed}",
            ),
        )
        job["spec"]["config"]["inline"] = "" if self._on_gpu else MODEL
        if self._on_gpu:
            job["spec"]["config"]["overrides"].append("MODEL.META_ARCHITECTURE TakesTurns")
        return job

    def race(
        self, contestants: Mapping[str, Mapping[str, Any]], processes: int, chosen: argparse.Namespace
    ) -> list[trainer_report.Result]:
        """Let all train in turns, in an order that moves on each round."""
        names = list(contestants)
        turns: dict[str, list[Any]] = {name: [] for name in names}
        with ExitStack() as stack:
            runs = {
                name: stack.enter_context(self.started(name, contestants[name], processes)) for name in names
            }
            first = {name: run.turn(1)[0] for name, run in runs.items()}
            warm = {name: run.turn(WARM_UP)[0] for name, run in runs.items()}
            for number in range(chosen.rounds):
                at = number % len(names)
                for name in names[at:] + names[:at]:
                    turns[name].append(runs[name].turn(chosen.iterations)[0])
        return [
            trainer_report.Result(
                name=name,
                startup=runs[name].startup + first[name].seconds,
                seconds=[turn.seconds for turn in turns[name]],
                cpu_seconds=[turn.cpu_seconds for turn in turns[name]],
                losses=[loss for turn in (first[name], warm[name], *turns[name]) for loss in turn.losses],
                peak=turns[name][-1].peak,
            )
            for name in names
        ]

    def started(
        self, name: str, spec: Mapping[str, Any], processes: int, *, seed: int = 7
    ) -> AbstractContextManager[Run]:
        """A contestant's processes, which wait for their turns."""
        folder = self._folder / f"{name}-{processes}-{seed}"
        manifest = folder.with_suffix(".json")
        manifest.write_text(json.dumps(self.manifest(spec, processes, amp=name == "amp", seed=seed)))
        environment = {
            "DETECTRON_MANIFEST": str(manifest),
            "DETECTRON_OUTPUT": str(folder / "output"),
            "DETECTRON_ATTEMPT": "0",
            "DETECTRON_METRICS_PORT": "0",
            "DETECTRON_TERMINATION_LOG": str(folder / "termination"),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "bench.contestant", name]
        return started(command, processes, _free_port(), folder, environment)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
