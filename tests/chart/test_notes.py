"""What helm says after installing: what is true, and commands that fit what was installed."""

from __future__ import annotations

import pytest
import yaml

from tests.chart.helm import CHART, NAMESPACE, RELEASE, ROOT, Values, helm, only, template
from tests.chart.variants import VARIANTS

CRD_FILE = "crds/detectrontrainingjobs.yaml"


def notes(values: Values) -> str:
    said = helm("install", RELEASE, CHART, "--namespace", NAMESPACE, "--dry-run=client", values=values)
    return said[said.index("NOTES:") :]


def commands(values: Values) -> list[str]:
    """The indented lines."""
    return [line.strip() for line in notes(values).splitlines() if line.startswith("  ")]


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_every_command_fits_what_was_installed(values: Values) -> None:
    deployment = only(template(values), "Deployment")["metadata"]
    served = values.get("watchNamespaces") or [NAMESPACE]
    kubectl = f"kubectl -n {served[0]}" if values.get("scope") == "Namespaced" else "kubectl"
    (short,) = yaml.safe_load((ROOT / CRD_FILE).read_text())["spec"]["names"]["shortNames"]
    assert commands(values) == [
        f"kubectl -n {deployment['namespace']} rollout status deployment/{deployment['name']}",
        f"helm -n {NAMESPACE} test {RELEASE}",
        f"{kubectl} apply -f job.yaml",
        f"{kubectl} get {short} --watch",
    ]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, ["of all namespaces.", "jobs stay when this release is uninstalled"]),
        ({"scope": "Namespaced"}, [f"of {NAMESPACE}."]),
        ({"scope": "Namespaced", "watchNamespaces": ["a", "b"]}, ["of a, b."]),
        ({"crds": {"enabled": False}}, [f"does not start until {CRD_FILE} is applied"]),
    ],
)
def test_what_is_true_of_these_values(values: Values, words: list[str]) -> None:
    said = notes(values)
    for word in words:
        assert word in said


def test_jobs_do_not_stay_where_they_are_not_kept() -> None:
    assert "stay" not in notes({"crds": {"keep": False}})
