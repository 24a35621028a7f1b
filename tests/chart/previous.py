"""The chart before this one, to upgrade from."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.chart.helm import CHART, ROOT, Manifest

NEW_FIELD = "channelsLast"
"""One of spec.training that the CRD of `lowered` does not have."""


def previous(folder: Path, repository: Path = ROOT) -> Path:
    """The chart of the newest release, else `lowered`; below `folder`, which is empty.

    Raises:
        subprocess.CalledProcessError: `repository` is no checkout with a history.
    """
    tag = newest_release(repository)
    return released(tag, folder, repository) if tag else lowered(folder)


def newest_release(repository: Path) -> str | None:
    """The highest tag `v...` before the commit that is checked out."""
    tags = _git(repository, "tag", "--merged", "HEAD^", "--list", "v*", "--sort=-version:refname")
    return next(iter(tags.decode().split()), None)


def released(tag: str, folder: Path, repository: Path = ROOT) -> Path:
    """The chart as it was at a tag."""
    archive = _git(repository, "archive", tag, "charts", "crds")
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder / "charts" / CHART.name


def lowered(folder: Path) -> Path:
    """This chart with a lower version, whose jobs lack a field."""
    chart = folder / CHART.name
    shutil.copytree(CHART, chart)
    _edit(chart / "Chart.yaml", lambda about: about.update(version="0.0.1", appVersion="0.0.1"))
    _edit(chart / "files" / "detectrontrainingjobs.yaml", lambda crd: training_fields(crd).pop(NEW_FIELD))
    return chart


def training_fields(crd: Manifest) -> dict[str, object]:
    """The properties of spec.training."""
    (version,) = crd["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    fields: dict[str, object] = spec["properties"]["training"]["properties"]
    return fields


def _edit(path: Path, change: Callable[[Any], object]) -> None:
    document = yaml.safe_load(path.read_text())
    change(document)
    path.write_text(yaml.safe_dump(document))


def _git(repository: Path, *arguments: str) -> bytes:
    return subprocess.run(
        ["git", "-C", str(repository), *arguments], stdout=subprocess.PIPE, check=True
    ).stdout
