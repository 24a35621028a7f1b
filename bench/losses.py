"""Whether what makes training faster makes it learn otherwise: `python -m bench.losses`.

With each seed, which orders the images, Detectron2's own trainer and ours with the levers on train the model
of `bench.trainer` from the same weights. What counts is the difference of their late losses with one seed,
beside how far the late losses of one and the same trainer lie from each other with different seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

import torch

from bench import report
from bench.trainer import CONTESTANTS, Bench
from bench.trainer_report import TITLES

BASELINE = "simple"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Late losses by seed of Detectron2's trainer and, of the same seeds, of another contestant."""

    theirs: Sequence[float]
    ours: Sequence[float]

    @property
    def difference(self) -> float:
        """Ours less theirs, the mean over the seeds."""
        return statistics.mean(self._differences)

    @property
    def error(self) -> float:
        """Standard error of that mean."""
        return statistics.stdev(self._differences) / math.sqrt(len(self._differences))

    @property
    def _differences(self) -> list[float]:
        return [mine - other for mine, other in zip(self.ours, self.theirs, strict=True)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train with every seed, print each one's late losses, then how they differ."""
    parser = argparse.ArgumentParser(prog="python -m bench.losses", description=__doc__)
    parser.add_argument("--contestants", nargs="+", default=["levers-bf16"], help="(default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=8, help="how many (default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=96, help="(default: %(default)s)")
    parser.add_argument("--late", type=int, default=32, help="of them, compared (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    chosen = parser.parse_args(arguments)
    names = [BASELINE, *chosen.contestants]
    facts = {**report.machine(), "torch": torch.__version__}
    print("  ".join(f"{name}: {value}" for name, value in facts.items()))
    print(f"mean loss of the last {chosen.late} of {chosen.iterations} iterations, 1 process")
    late: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(Path(folder), images=2, size=128, on_gpu=False)
        for seed in range(1, chosen.seeds + 1):
            for name, losses in trained(bench, names, seed, chosen.iterations).items():
                late[name].append(statistics.mean(losses[-chosen.late :]))
            shown = "  ".join(f"{TITLES[name]}: {late[name][-1]:.4f}" for name in names)
            print(f"seed {seed}  {shown}", flush=True)
    print(told(late))
    if chosen.json:
        chosen.json.write_text(json.dumps({"machine": facts, "late losses": late}, indent=1) + "\n")


def trained(bench: Bench, names: Sequence[str], seed: int, iterations: int) -> dict[str, Sequence[float]]:
    """The loss of every iteration of each contestant; they train side by side."""
    with ExitStack() as stack:
        runs = [stack.enter_context(bench.started(name, CONTESTANTS[name], 1, seed=seed)) for name in names]
        threads = stack.enter_context(ThreadPoolExecutor(len(runs)))
        turns = threads.map(lambda run: run.turn(iterations)[0], runs)
        return {name: turn.losses for name, turn in zip(names, turns, strict=True)}


def told(late: Mapping[str, Sequence[float]]) -> str:
    """How each contestant's late losses differ from Detectron2's own."""
    theirs = late[BASELINE]
    lines = [
        f"{TITLES[BASELINE]}: {statistics.mean(theirs):.4f}, "
        f"from seed to seed +- {statistics.stdev(theirs):.4f} (standard deviation)"
    ]
    for name, ours in late.items():
        if name != BASELINE:
            found = Comparison(theirs, ours)
            lines.append(
                f"{TITLES[name]}: {statistics.mean(ours):.4f}, with one seed {found.difference:+.4f} "
                f"+- {found.error:.4f} (standard error of the mean)"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
