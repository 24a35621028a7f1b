"""`python -m tests.naive [row ...]`: show that each trap's tests fail with the naive code.

The naive changes are made in a private copy of the sources. Each must make its test fail, for its reason,
which passes without it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.console import say
from tests.naive.change import NaiveChange
from tests.naive.changes import CHANGES
from tests.naive.sources import Sources, Verdict


@dataclass(frozen=True)
class Trial:
    """A naive change and what became of it in so many seconds; `says` is the test's complaint."""

    change: NaiveChange
    verdict: Verdict
    says: str
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the changes; 1 unless every one makes its test fail as it must."""
    parser = argparse.ArgumentParser(prog="python -m tests.naive", description=__doc__)
    parser.add_argument("row", nargs="*", help="words of the rows of docs/detectron2-traps.md to try")
    words = [word.casefold() for word in parser.parse_args(arguments).row]
    for word in words:
        if not any(word in change.trap.casefold() for change in CHANGES):
            parser.error(f"no naive change is of a row with {word!r}")
    chosen = [each for each in CHANGES if not words or any(word in each.trap.casefold() for word in words)]
    began = time.monotonic()
    trials = _try(chosen)
    print(_table(trials))
    bad = [trial for trial in trials if trial.verdict is not Verdict.FAILS]
    for trial in bad:
        print(f"\n{trial.verdict}: {trial.change.naive}, {trial.change.test}\n{trial.says}")
    minutes = (time.monotonic() - began) / 60
    print(
        f"\n{len(trials) - len(bad)} of {len(trials)} naive changes fail as they must, in {minutes:.0f} min"
    )
    return 1 if bad else 0


def _try(changes: Sequence[NaiveChange]) -> list[Trial]:
    with tempfile.TemporaryDirectory(prefix="naive-") as folder:
        sources = Sources(Path(folder))
        tests = {change.test for change in changes}
        say(f"{len(tests)} tests without a change")
        before = sources.outcomes(tests)
        trials = []
        for change in changes:
            began = time.monotonic()
            without = before[change.test]
            if without.passed:
                verdict, says = sources.judge(change)
            else:
                verdict, says = Verdict.BEFORE, "\n".join(without.errors + without.failures)
            trials.append(Trial(change, verdict, says, time.monotonic() - began))
            say(f"{verdict}: {change.naive} ({change.test})")
        return trials


def _table(trials: Sequence[Trial]) -> str:
    """A row each: the trap's first words, what is naive, the test, what became of it."""
    cells = [("Trap", "Naive", "Test", "Outcome", "s")]
    cells += [
        (
            trial.change.trap,
            trial.change.naive,
            trial.change.test.rpartition("/")[2],
            trial.verdict,
            f"{trial.seconds:.0f}",
        )
        for trial in trials
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells
    ]
    rule = "|".join("-" * (width + 2) for width in widths)
    return "\n".join(["| " + lines[0] + " |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])])


if __name__ == "__main__":
    sys.exit(main())
