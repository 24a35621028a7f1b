"""The chart through the real helm command."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import binaries

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "detectron-operator"
RELEASE = "dtj"
NAMESPACE = "training-system"

Manifest = dict[str, Any]
Values = dict[str, Any]


class HelmError(RuntimeError):
    """helm's own words on why it would not."""


def helm(*arguments: str | Path, values: Values | None = None) -> str:
    """What helm prints; HelmError where it fails."""
    command = [binaries.program("helm"), *arguments, *(("--values", "-") if values is not None else ())]
    done = subprocess.run(
        command, input=json.dumps(values or {}), capture_output=True, text=True, check=False, cwd=ROOT
    )
    if done.returncode:
        raise HelmError(done.stdout + done.stderr)
    return done.stdout


def template(values: Values | None = None, chart: Path = CHART) -> list[Manifest]:
    """The manifests of a release, without those of `helm test`."""
    return [manifest for manifest in _rendered(values, chart) if not _is_hook(manifest)]


def hooks(values: Values | None = None) -> list[Manifest]:
    """The manifests of `helm test`."""
    return [manifest for manifest in _rendered(values, CHART) if _is_hook(manifest)]


def _rendered(values: Values | None, chart: Path) -> list[Manifest]:
    text = helm("template", RELEASE, chart, "--namespace", NAMESPACE, values=values or {})
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def _is_hook(manifest: Manifest) -> bool:
    return "helm.sh/hook" in manifest["metadata"].get("annotations", {})


def told(name: str) -> Any:
    """What Chart.yaml tells Artifact Hub under a name."""
    annotations = yaml.safe_load((CHART / "Chart.yaml").read_text())["annotations"]
    return yaml.safe_load(annotations[f"artifacthub.io/{name}"])


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """Those of one kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def only(manifests: list[Manifest], kind: str) -> Manifest:
    """The one of a kind."""
    (manifest,) = of_kind(manifests, kind)
    return manifest
