"""The scripts of the release workflow: a chart that names its images by digest, in a registry."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.helm import CHART, ROOT, only, template
from tests.chart.oci_registry import OciRegistry
from tests.cluster import binaries, pki
from tests.unit.workflows import script

OPERATOR, TRAINER = f"sha256:{'0a' * 32}", f"sha256:{'1b' * 32}"
VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the scripts read of a checkout, for them to change."""
    folder = tmp_path / "checkout"
    shutil.copytree(CHART, folder / CHART.relative_to(ROOT))
    return folder


def run(step: str, checkout: Path, **variables: str) -> str:
    """Run a step of the job `chart` as a runner does; returns what it leaves to later steps."""
    outputs = checkout.parent / "outputs"
    outputs.touch()
    path = f"{binaries.program('helm').parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script("release", "chart", step)],
        env=os.environ | {"PATH": path, "GITHUB_OUTPUT": str(outputs)} | variables,
        cwd=checkout,
        check=True,
    )
    return outputs.read_text()


def test_the_pushed_chart_names_the_images_by_digest(checkout: Path, tmp_path: Path) -> None:
    authority = pki.Authority(tmp_path / "pki", datetime.datetime.now(datetime.UTC))
    certificate, key = authority.issue("registry", hosts=["127.0.0.1"]).write(tmp_path / "pki" / "registry")
    with OciRegistry(certificate, key) as registry:
        prefix = f"{registry.host}/vision"
        run("Name the images by digest", checkout, PREFIX=prefix, OPERATOR=OPERATOR, TRAINER=TRAINER)
        outputs = run("Push the chart", checkout, PREFIX=prefix, SSL_CERT_FILE=str(authority.path))

    manifest = registry.manifests[f"vision/charts/detectron-operator:{VERSION}"]
    assert outputs == f"digest=sha256:{hashlib.sha256(manifest).hexdigest()}\n"
    (layer,) = (item for item in json.loads(manifest)["layers"] if item["mediaType"] == CHART_LAYER)
    package = tmp_path / "pulled.tgz"
    package.write_bytes(registry.blobs[layer["digest"]])
    (container,) = _pod(package)["containers"]
    assert container["image"] == f"{prefix}/detectron-operator@{OPERATOR}"
    assert f"{prefix}/detectron-trainer@{TRAINER}" in [item.get("value") for item in container["env"]]


def _pod(chart: Path) -> Any:
    return only(template(chart=chart), "Deployment")["spec"]["template"]["spec"]


def test_a_push_that_fails_fails_the_step(checkout: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run("Push the chart", checkout, PREFIX="127.0.0.1:1/vision")
    assert (checkout / "dist" / f"detectron-operator-{VERSION}.tgz").exists(), "it was the push that failed"
