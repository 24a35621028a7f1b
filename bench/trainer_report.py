"""What was measured of the trainer, as tables and curves for people."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.trainer_costs import Costs

TITLES = {
    "plain": "tutorial's plain loop",
    "simple": "DefaultTrainer (SimpleTrainer)",
    "amp": "DefaultTrainer (AMPTrainer)",
    "ours": "ours, same numerics",
    "levers": "ours, levers on",
    "levers-bf16": "ours, levers and bfloat16",
}
BASELINES = ("plain", "simple", "amp")
_WIDTH, _HEIGHT = 72, 12
_LATE = 10
"""Last iterations whose mean loss is compared."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One contestant on rank 0: seconds until its first iteration was over, and of each of its turns by the
    clock and of CPU time; the losses of all its iterations; the most memory in bytes."""

    name: str
    startup: float
    seconds: Sequence[float]
    cpu_seconds: Sequence[float]
    losses: Sequence[float]
    peak: int


def race(results: Sequence[Result], processes: int, iterations: int) -> str:
    """A line a contestant, then their loss curves laid over each other."""
    by_name = {result.name: result for result in results}
    baselines = [name for name in BASELINES if name in by_name]
    head = f"{f'{processes} process' + 'es' * (processes > 1):32}  ms/iter  start s  peak MiB  late loss"
    lines = [
        "",
        head + "".join(f"  {'x ' + name + ' (least-most)':>24}  {'by CPU':>6}" for name in baselines),
    ]
    for result in results:
        line = (
            f"{TITLES[result.name]:32}  {statistics.median(result.seconds) / iterations * 1e3:7.0f}"
            f"  {result.startup:7.1f}  {result.peak / 2**20:8.0f}"
            f"  {statistics.mean(result.losses[-_LATE:]):9.4f}"
        )
        for name in baselines:
            by_clock = ratios(by_name[name].seconds, result.seconds)
            by_cpu = ratios(by_name[name].cpu_seconds, result.cpu_seconds)
            spread = f"{statistics.median(by_clock):.3f} ({min(by_clock):.2f}-{max(by_clock):.2f})"
            line += f"  {spread:>24}  {statistics.median(by_cpu):6.3f}"
        lines.append(line)
    return "\n".join([*lines, "", curves({result.name: result.losses for result in results})])


def ratios(baseline: Sequence[float], ours: Sequence[float]) -> list[float]:
    """How many times as fast we were in each round."""
    return [theirs / mine for theirs, mine in zip(baseline, ours, strict=True)]


def curves(losses: Mapping[str, Sequence[float]]) -> str:
    """Loss by iteration; each contestant is a letter, and where several meet stands ``*``."""
    everything = [loss for curve in losses.values() for loss in curve]
    low, high = min(everything), max(everything)
    length = min(len(curve) for curve in losses.values())
    grid = [[" "] * min(length, _WIDTH) for _ in range(_HEIGHT)]
    letters = dict(zip(losses, "abcdef", strict=False))
    for name, curve in losses.items():
        for column in range(len(grid[0])):
            loss = curve[column * length // len(grid[0])]
            row = round((high - loss) / (high - low or 1) * (_HEIGHT - 1))
            taken = grid[row][column]
            grid[row][column] = letters[name] if taken == " " else "*"
    legend = "  ".join(f"{letter} {TITLES[name]}" for name, letter in letters.items())
    body = [f"{high - (high - low) * i / (_HEIGHT - 1):8.3f} |{''.join(row)}" for i, row in enumerate(grid)]
    return "\n".join([f"loss by iteration, 0 to {length - 1}: {legend}  * several", *body])


def step_seconds(numbers: Mapping[str, Any], iterations: int) -> float:
    """CPU time of the median iteration of ours with the same numerics, in the first race that it was in."""
    for race in numbers.values():
        for result in race if isinstance(race, list) else ():
            if result["name"] == "ours":
                return float(statistics.median(result["cpu_seconds"])) / iterations
    raise ValueError("ours was in no race")


def costs(found: Costs, step: float) -> str:
    """What of a step goes into metrics, and how long a save stops training."""
    sync, behind = statistics.median(found.save_seconds), statistics.median(found.blocked_seconds[1:])
    return "\n".join(
        [
            "",
            f"metrics, all writers: {found.metrics_seconds * 1e6:.0f} us of CPU time an iteration, "
            f"{found.metrics_seconds / step:.3%} of ours",
            f"a save of {found.bytes / 2**20:.0f} MiB stops training for {sync * 1e3:.0f} ms, "
            f"in the background {behind * 1e3:.0f} ms ({behind / sync:.1%}), "
            f"the first time {found.blocked_seconds[0] * 1e3:.0f} ms",
        ]
    )
