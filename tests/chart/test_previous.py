"""Which chart an upgrade starts from."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.chart.helm import CHART, ROOT, only, template
from tests.chart.previous import NEW_FIELD, lowered, newest_release, previous, training_fields

AUTHOR = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Three commits: the second one is the release 0.0.9."""
    root = tmp_path / "repository"
    for folder in ("charts", "crds"):
        shutil.copytree(ROOT / folder, root / folder, symlinks=True)
    about = root / "charts" / CHART.name / "Chart.yaml"
    git(root, "init", "--quiet")
    for version in ("0.0.8", "0.0.9", "0.1.0"):
        about.write_text(yaml.safe_dump(yaml.safe_load(about.read_text()) | {"version": version}))
        git(root, "add", ".")
        git(root, "commit", "--quiet", "--message", version)
        if version != "0.1.0":
            git(root, "tag", f"v{version}")
    return root


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(root), *AUTHOR, *arguments], check=True)


def version(chart: Path) -> str:
    return str(yaml.safe_load((chart / "Chart.yaml").read_text())["version"])


def test_it_is_the_newest_release_before(repository: Path, tmp_path: Path) -> None:
    chart = previous(tmp_path, repository)
    assert version(chart) == "0.0.9"
    assert only(template(chart=chart), "CustomResourceDefinition")["spec"]["group"] == "detectron.dev"


def test_a_release_itself_is_upgraded_from_the_one_before(repository: Path) -> None:
    git(repository, "tag", "v0.1.0")
    assert newest_release(repository) == "v0.0.9"


def test_without_a_release_it_is_this_one_with_a_field_less(repository: Path, tmp_path: Path) -> None:
    git(repository, "tag", "--delete", "v0.0.8", "v0.0.9")
    chart = previous(tmp_path, repository)
    assert version(chart) == "0.0.1" < version(CHART)
    assert NEW_FIELD not in training_fields(only(template(chart=chart), "CustomResourceDefinition"))
    assert NEW_FIELD in training_fields(only(template(), "CustomResourceDefinition"))


def test_making_it_changes_nothing_here(tmp_path: Path) -> None:
    before = (ROOT / "crds" / "detectrontrainingjobs.yaml").read_bytes()
    lowered(tmp_path)
    assert (ROOT / "crds" / "detectrontrainingjobs.yaml").read_bytes() == before
