"""The outcomes of the matrix, for people as a page and for machines as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.release import CHART
from tests.matrix.disturbance import DISTURBANCES, Effect
from tests.matrix.installation import Outcome
from tests.matrix.job import LONG, SHORT
from tests.matrix.switches import flipped
from tests.matrix.variants import UNTRIED, variants

VARIANTS = {variant.name: variant for variant in variants("sha256:...", "sha256:...")}


def publish(
    folder: Path, facts: Mapping[str, object], outcomes: Sequence[Outcome], effects: Sequence[Effect]
) -> None:
    """Write chart-matrix.json and chart-matrix.md; what was not run keeps what was measured before."""
    file = folder / "chart-matrix.json"
    former = json.loads(file.read_text()) if file.exists() else {}
    numbers = {
        "machine": {name: fact for name, fact in facts.items() if name != "load"},
        "installations": _latest(VARIANTS, former.get("installations", ()), outcomes),
        "disturbances": _latest(
            [each.name for each in DISTURBANCES], former.get("disturbances", ()), effects
        ),
    }
    file.write_text(json.dumps(numbers, indent=1) + "\n")
    (folder / "chart-matrix.md").write_text(page(numbers))


def page(numbers: Mapping[str, Any]) -> str:
    """docs/chart-matrix.md, from what is in chart-matrix.json."""
    machine = numbers["machine"]
    outcomes = [Outcome(**outcome) for outcome in numbers["installations"]]
    effects = [Effect(**effect) for effect in numbers["disturbances"]]
    return f"""# The chart on a real cluster

```sh
make matrix                               # all of it: python -m tests.matrix --publish docs
python -m tests.matrix --help             # some of it alone
```

installs the chart with the real helm on two nodes with our own images, kubelet, containerd and scheduler,
in namespaces under the `restricted` Pod Security Standard. Each time a job of {SHORT} iterations and an
evaluation, the [digits](../examples/digits) on two pods of two nodes, has to succeed and `helm test` to pass;
then `helm uninstall` may leave nothing but, where `crds.keep` says so, the definition of jobs.
`tests/unit/test_chart_matrix.py` holds the variants to flip every switch of `values.yaml`; what a switch does
is held by `tests/chart` and `tests/apiserver`.

Measured on {machine["cores"]} cores ({machine["cpu"]}), {machine["memoryGiB"]} GiB, Linux
{machine["kernel"]}, beside whatever else ran there:

{installations(outcomes)}

*Ready* is the time that `helm install --wait` took, *succeeded* that from `kubectl apply` to `Succeeded`,
*tested* that of `helm test`.

## What is done to an installation

{disturbances(effects)}

The job, of {LONG} iterations, has to train throughout, and to end in the pods that it began with, with no
container restarted. The chart before is that of the newest release; while there is none, this one with a
lower version and a field less in its jobs.

## What each variant sets

{_settings()}

## What is not tried

- NetworkPolicies are accepted here, not enforced: the nodes' network plugin (bridge) ignores them.
- PodMonitors and PrometheusRules are accepted by stand-ins for their definitions, which take anything; the
  Prometheus operator does not run.
{_untried()}
"""


def installations(outcomes: Iterable[Outcome]) -> str:
    """A markdown table."""
    titles = ("Variant", "", "Ready", "Succeeded", "Tested", "Outcome")
    rows = [
        (
            f"`{outcome.name}`",
            VARIANTS[outcome.name].about,
            *map(_seconds, (outcome.ready, outcome.succeeded, outcome.tested)),
            _verdict(outcome.wrong),
        )
        for outcome in outcomes
    ]
    return _table(titles, rows)


def disturbances(effects: Iterable[Effect]) -> str:
    """A markdown table."""
    known = {each.name: each for each in DISTURBANCES}
    rows = [
        (
            known[effect.name].about,
            f"{_seconds(effect.seconds)}, until {known[effect.name].until}",
            _verdict(effect.wrong),
        )
        for effect in effects
    ]
    return _table(("What is done", "Time", "Outcome"), rows)


def _latest(names: Iterable[str], former: Iterable[Any], latest: Iterable[Any]) -> list[Any]:
    known = {found["name"]: found for found in [*former, *map(dataclasses.asdict, latest)]}
    return [known[name] for name in names if name in known]


def _settings() -> str:
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    lines = []
    for name, variant in VARIANTS.items():
        changed = [f"`{switch}`" for switch in flipped(schema, defaults, variant.values)]
        lines.append(f"- `{name}`: {', '.join(changed) or 'nothing'}")
    return "\n".join(lines)


def _untried() -> str:
    return "\n".join(f"- `{switch}`: {reason}." for switch, reason in UNTRIED.items())


def _verdict(wrong: Sequence[str]) -> str:
    return "; ".join(f"**{' '.join(each.split())}**" for each in wrong) or "as it has to be"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, ("---",) * len(titles), *rows))
