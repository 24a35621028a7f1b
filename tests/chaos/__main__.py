"""`python -m tests.chaos`: run the fault suite on this machine's cluster."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import report as bench
from tests.chaos import report, scenario, scenarios
from tests.chaos.trial import with_plugins
from tests.cluster.console import say
from tests.cluster.release import installed
from tests.cluster.workspace import workspace

NAMESPACE = "chaos"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run scenarios; 1 if the outcome of one is wrong or later than its aim."""
    every = {each.name: each for each in scenarios.SCENARIOS}
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("scenario", nargs="*", metavar="scenario", help=f"some of {', '.join(every)}")
    parser.add_argument("--publish", type=Path, help="folder for faults.md and faults.json")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.scenario) - set(every):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    facts = bench.machine()
    outcomes = []
    with installed() as release, workspace(release.cluster, NAMESPACE) as kubectl:
        with_plugins(kubectl)
        for name in chosen.scenario or every:
            outcome = scenario.run(every[name], release, kubectl)
            outcomes.append(outcome)
            say(report.line(outcome))
            if chosen.publish:
                report.publish(chosen.publish, facts, [outcome])
    print(report.table(outcomes))
    return 1 if any(outcome.wrong or outcome.late for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
