"""The workflows: what they may do, what they rely on, and that they check what `make test` checks."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.workflows import FOLDER, jobs, script, steps, workflows

ROOT = FOLDER.parents[1]
READ = {"contents": "read"}
SIGN = {"contents": "read", "id-token": "write", "attestations": "write"}
PERMISSIONS = {
    "ci/layer": READ,
    "ci/cluster": READ,
    "nightly/search": READ,
    "release/version": READ,
    "release/checks": READ,
    "release/faults": READ,
    "release/sbom": READ,
    "release/images": SIGN,
    "release/chart": SIGN,
}
"""All that the jobs may do to the repository."""
FILES = sorted(FOLDER.glob("*.yml"))


def test_each_job_may_do_what_it_needs_and_no_more() -> None:
    granted = {
        f"{name}/{job}": body.get("permissions", workflow["permissions"])
        for name, workflow in workflows().items()
        for job, body in workflow["jobs"].items()
    }
    assert granted == PERMISSIONS


def test_only_jobs_that_sign_may_sign_and_they_run_nothing_of_a_checkout_s_tools() -> None:
    signing = {name for name, step in steps() if step.get("uses", "").startswith("actions/attest@")}
    assert signing == {name for name, permissions in PERMISSIONS.items() if permissions is SIGN}
    scripts = [step["run"] for name, step in steps() if name in signing and "run" in step]
    assert not [text for text in scripts if re.search(r"\b(make|pip|uv|python3?)\b", text)]


def test_secrets_are_for_jobs_of_the_protected_environment() -> None:
    holding = {name for name, job in jobs() if "secrets." in yaml.safe_dump(job)}
    assert holding == {name for name, job in jobs() if name in holding and job["environment"] == "release"}
    assert not [name for name, job in jobs() if "secrets" in job], "none are handed to other workflows"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.name))
def test_every_action_is_pinned_by_commit_and_says_of_which_version(file: Path) -> None:
    used = re.findall(r"uses: (.*)", file.read_text())
    foreign = [line for line in used if not line.startswith("./")]
    assert foreign
    for line in foreign:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_an_action_has_one_commit() -> None:
    lines = {line for file in FILES for line in re.findall(r"uses: (\S+@.*)", file.read_text())}
    actions = [line.partition("@")[0] for line in lines]
    assert sorted(actions) == sorted(set(actions))


def test_no_checkout_leaves_its_token_behind() -> None:
    checkouts = [step for _, step in steps() if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


def test_scripts_get_what_they_are_given_by_environment_and_stop_at_the_first_failure() -> None:
    """An expression in a script is a program of whoever named the branch; sh would not see a pipe fail."""
    scripts = [step["run"] for _, step in steps() if "run" in step]
    assert scripts
    assert not [text for text in scripts if "${{" in text]
    assert all(workflow["defaults"] == {"run": {"shell": "bash"}} for workflow in workflows().values())


def test_strangers_code_runs_nowhere_but_on_machines_that_are_thrown_away() -> None:
    cluster = workflows()["ci"]["jobs"]["cluster"]
    assert "github.event_name != 'pull_request'" in cluster["if"]
    # YAML takes the key `on` for true.
    assert all("pull_request_target" not in workflow[True] for workflow in workflows().values())


def test_it_checks_what_make_test_checks() -> None:
    (layers,) = re.findall(r"^test: (.*?) ##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    ci: Any = workflows()["ci"]["jobs"]
    assert [*ci["layer"]["strategy"]["matrix"]["layer"], "cluster"] == layers.split()
    assert ci["cluster"]["steps"][-1] == {"run": "make cluster"}
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "exec make test"


def test_images_come_with_a_bill_of_materials_and_their_provenance() -> None:
    images: Any = workflows()["release"]["jobs"]["images"]
    (build,) = (step["with"] for step in images["steps"] if step.get("id") == "build")
    assert (build["sbom"], build["provenance"], build["push"]) == (True, "mode=max", True)
    built = {leg["image"]: leg["dockerfile"] for leg in images["strategy"]["matrix"]["include"]}
    assert all((ROOT / dockerfile).is_file() for dockerfile in built.values())
    recipe = (ROOT / "Makefile").read_text()
    assert all(f"$(SBOM)/{image}.cdx.json" in recipe for image in built), "each has a document to be signed"
    assert {"version", "checks", "faults", "sbom"} == set(images["needs"])


def test_nothing_is_released_that_has_not_survived_every_fault() -> None:
    release: Any = workflows()["release"]["jobs"]
    faults = release["faults"]
    assert not {"if", "continue-on-error"} & set(faults)
    (suite,) = (step for step in faults["steps"] if "run" in step)
    assert suite == {"run": "make chaos"}
    assert {"faults"} <= set(release["images"]["needs"])
    assert release["chart"]["needs"] == "images"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.name))
def test_no_registry_is_named(file: Path) -> None:
    used = [step["with"] for name, step in steps() if step.get("uses", "").startswith("docker/login-action@")]
    assert all(login["registry"] == "${{ vars.REGISTRY }}" for login in used)
    allowed = {"helm.sh"}
    hosts = set(re.findall(r"\b(?:[a-z0-9-]+\.)+(?:io|com|org|dev|sh|net)\b", file.read_text()))
    assert hosts <= allowed


VERSION = yaml.safe_load((ROOT / "charts" / "detectron-operator" / "Chart.yaml").read_text())["version"]
NAMED = {"REGISTRY": "registry.example", "REGISTRY_NAMESPACE": "vision", "CLUSTER_RUNNER": "two-nodes"}


def _tagged(tmp_path: Path, **variables: str) -> tuple[int, str, str]:
    """How the release's first step ends, what it says, and what it leaves to the other jobs."""
    outputs = tmp_path / "outputs"
    outputs.touch()
    text = script("release", "version", "The tag is the chart's version, and registry and runner are named")
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text],
        env=os.environ | variables | {"GITHUB_OUTPUT": str(outputs)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.strip(), outputs.read_text()


def test_a_tag_of_the_chart_s_version_is_released(tmp_path: Path) -> None:
    assert _tagged(tmp_path, GITHUB_REF_NAME=f"v{VERSION}", **NAMED) == (0, "", f"version={VERSION}\n")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"GITHUB_REF_NAME": "v99.0.0", **NAMED}, f"the tag is v99.0.0, the chart's version {VERSION}"),
        (
            {"GITHUB_REF_NAME": f"v{VERSION}", **NAMED, "REGISTRY": ""},
            "the variables REGISTRY and REGISTRY_NAMESPACE are not both set",
        ),
        (
            {"GITHUB_REF_NAME": f"v{VERSION}", **NAMED, "CLUSTER_RUNNER": ""},
            "the variable CLUSTER_RUNNER, a machine for the fault suite, is not set",
        ),
    ],
)
def test_a_release_that_cannot_be_stops_before_it_starts(
    tmp_path: Path, variables: dict[str, str], words: str
) -> None:
    assert _tagged(tmp_path, **variables) == (1, f"::error::{words}", "")
