"""The outcomes of the suite, for people as a page and for machines as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.iterations import INTERRUPTION
from tests.chaos.scenario import Outcome, Scenario
from tests.chaos.scenarios import NODE_GRACE, SCENARIOS
from tests.chaos.trial import CHECKPOINT_PERIOD, MAX_ITER, STRIKE_AT

ELSEWHERE = (
    ("SIGKILL of the operator at every API write in turn", "test_faults.py::TestKilled"),
    ("Operator killed with its Lease held; Lease lost; told to stop", "test_leadership.py::TestOneOfTwo"),
    ("Two operators started by mistake", "test_leadership.py::TestTwoWithoutALease"),
    ("Watches break, or answer 410 with deletes in the gap", "test_faults.py::TestWatches"),
    ("429 for 30 s", "test_outages.py::test_429_for_30_seconds_is_waited_out_as_the_server_asks"),
    (
        "API server or etcd stopped for 30 s",
        "test_outages.py::test_an_api_server_without_itself_or_its_etcd_for_30_seconds",
    ),
    (
        "The clock of the operator's machine set by an hour, or wrong when it starts",
        "test_clock.py::test_a_clock_that_is_an_hour_off_decides_nothing_early_and_nothing_late",
    ),
    (
        "200 random pod kills over 50 jobs on fake nodes",
        "test_random_kills.py::test_two_hundred_kills_over_fifty_jobs_leave_every_job_trained_to_its_end",
    ),
)
"""Faults that need no kubelet, and who holds them: tests of tests/apiserver."""


def line(outcome: Outcome) -> str:
    """One outcome for whoever waits."""
    said = f"{outcome.name}: {outcome.ended}, noticed {_seconds(outcome.noticed)}, recovered "
    said += f"{_seconds(outcome.recovered)}, {outcome.repeated} iterations again, {' '.join(outcome.causes)}"
    return "; ".join([said, *outcome.wrong, *outcome.late])


def table(outcomes: Sequence[Outcome]) -> str:
    """A markdown table."""
    scenarios = {scenario.name: scenario for scenario in SCENARIOS}
    rows = [_row(scenarios[outcome.name], outcome) for outcome in outcomes]
    titles = (
        "Fault",
        "Named",
        "Noticed (aim)",
        "Recovered (aim)",
        "Trained again (at most)",
        "Load",
        "Outcome",
        "Measured",
    )
    return "\n".join(map(_cells, (titles, ("---",) * len(titles), *rows)))


def publish(folder: Path, facts: Mapping[str, object], outcomes: Sequence[Outcome]) -> None:
    """Write faults.json and faults.md.

    Scenarios that were not run keep what was measured before, if it was on such a machine.
    """
    file = folder / "faults.json"
    machine = {name: fact for name, fact in facts.items() if name != "load"}
    former = json.loads(file.read_text()) if file.exists() else {"machine": machine, "outcomes": []}
    kept = former["outcomes"] if former["machine"] == machine else []
    latest = {outcome["name"]: outcome for outcome in [*kept, *map(dataclasses.asdict, outcomes)]}
    ordered = [latest[scenario.name] for scenario in SCENARIOS if scenario.name in latest]
    numbers = {"machine": machine, "outcomes": ordered}
    file.write_text(json.dumps(numbers, indent=1) + "\n")
    (folder / "faults.md").write_text(page(numbers))


def page(numbers: Mapping[str, Any]) -> str:
    """docs/faults.md, from what is in faults.json."""
    machine = numbers["machine"]
    outcomes = [Outcome(**outcome) for outcome in numbers["outcomes"]]
    elsewhere = "\n".join(_cells((fault, f"`tests/apiserver/{test}`")) for fault, test in ELSEWHERE)
    return f"""# Faults, and what becomes of the training

```sh
make chaos                                # all of it: python -m tests.chaos --publish docs
python -m tests.chaos --help              # some scenarios alone
```

does one thing after the other to a real job and measures. The job trains the digits on two pods of two
nodes, with our own images, kubelet, containerd and scheduler; each scenario has a job of its own, of
{MAX_ITER} iterations with a checkpoint every {CHECKPOINT_PERIOD}, and strikes after iteration {STRIKE_AT};
an elastic one has more iterations, to be trained while a node comes back.
A scenario fails unless the job ends as it has to, at the same iteration, with every iteration once in
metrics.json, with no pod left alive, and having trained no more iterations again than it may; where operators
are struck, also unless each pod was made once, and each restart counted once. A scenario takes 40 s to two
minutes on such a machine, all of them less than an hour.

*Noticed* is the time from the fault until the job's status named it; a dash: torchrun mended it in the
pods, or there was nothing to say. *Recovered* is the time from the fault, or from its repair where somebody
has to repair it, to the first new iteration; a dash: training was never interrupted for more than
{INTERRUPTION:.0f} s, or was to end. It holds the start of Python and torch in new processes, which is most
of it. The test cluster's controller manager takes {NODE_GRACE:.0f} s to give a node up.

Measured on {machine["cores"]} cores ({machine["cpu"]}), {machine["memoryGiB"]} GiB, Linux
{machine["kernel"]}, each row with the code of its day; *load* is the machine's when the scenario began,
of whatever else ran on it:

{table(outcomes)}

{_not_measured(outcomes)}A quick part is in `make cluster`: `tests/cluster/test_faults.py`. It holds
outcomes, and no times.

## What needs no real node

| Fault | Test |
|---|---|
{elsewhere}
"""


def _not_measured(outcomes: Sequence[Outcome]) -> str:
    measured = {outcome.name for outcome in outcomes}
    missing = [scenario.fault for scenario in SCENARIOS if scenario.name not in measured]
    return f"Not measured yet: {'; '.join(missing)}.\n\n" if missing else ""


def _row(scenario: Scenario, outcome: Outcome) -> Sequence[str]:
    return (
        scenario.fault,
        ", ".join(f"`{cause}`" for cause in outcome.causes if cause != "TrainingCompleted"),
        _seconds(outcome.noticed, scenario.notice_within),
        _seconds(outcome.recovered, scenario.within),
        f"{outcome.repeated} ({scenario.repeats})",
        f"{outcome.load:.0f}",
        "; ".join([outcome.ended, *(f"**{wrong}**" for wrong in outcome.wrong)]),
        outcome.date,
    )


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _seconds(value: float | None, aim: float | None = None) -> str:
    took = "–" if value is None else f"{value:.1f} s"
    return took if aim is None else f"{took} ({aim:.0f} s)"
