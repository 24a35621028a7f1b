"""What Chart.yaml tells Artifact Hub is what the chart has."""

from __future__ import annotations

import tomllib

import pytest
import yaml

from tests.chart.helm import ROOT, hooks, only, template, told

CRD = yaml.safe_load((ROOT / "crds" / "detectrontrainingjobs.yaml").read_text())


def test_the_license_is_the_packages() -> None:
    for package in ("operator", "trainer-image"):
        project = tomllib.loads((ROOT / package / "pyproject.toml").read_text())["project"]
        assert told("license") == project["license"]


def test_images_are_those_that_run() -> None:
    container = only(template(), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    trainer = next(v["value"] for v in container["env"] if v["name"] == "DETECTRON_OPERATOR_TRAINER_IMAGE")
    assert [image["image"] for image in told("images")] == [container["image"], trainer]
    assert only(hooks(), "Pod")["spec"]["containers"][0]["image"] == container["image"]


def test_the_crd_is_ours() -> None:
    (crd,) = told("crds")
    (version,) = CRD["spec"]["versions"]
    assert (crd["kind"], crd["name"]) == (CRD["spec"]["names"]["kind"], CRD["metadata"]["name"])
    assert crd["version"] == version["name"]
    assert crd["description"] == version["schema"]["openAPIV3Schema"]["description"]


@pytest.mark.parametrize("change", told("changes"), ids=lambda change: str(change["description"]))
def test_changes_are_of_a_kind(change: dict[str, str]) -> None:
    assert change.keys() == {"kind", "description"}
    assert change["kind"] in {"added", "changed", "deprecated", "removed", "fixed", "security"}


def test_the_example_is_that_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    block = readme[readme.index("```yaml\n") :].split("```")[1].removeprefix("yaml\n")
    assert told("crdsExamples") == [yaml.safe_load(block)]
