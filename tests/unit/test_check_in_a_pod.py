"""The check of a pod and the operator understand each other: its command runs here, its last words count."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip
from detectron2.data import DatasetCatalog, MetadataCatalog

from detectron_operator.api import parse
from detectron_operator.manifests.configmap import MANIFEST_KEY, configmap
from detectron_operator.manifests.preflight import preflight_pod
from detectron_operator.manifests.torchrun import MANIFEST_PATH, TERMINATION_LOG
from detectron_operator.plan import plan
from detectron_trainer.command.cli import main
from tests.trainer import tiny
from tests.unit.operator_objects import DEFAULTS, START, RawObject, check_pod, raw_job


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """The tiny job's data, in a folder that has the same path here as in the pod."""
    folder = tmp_path / "data"
    tiny.write_dataset(folder / "train", 6, seed=1)
    tiny.write_dataset(folder / "test", 2, seed=2)
    yield folder
    for name in ("tiny_train", "tiny_test"):
        if name in DatasetCatalog:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


def checked(raw: RawObject, folder: Path) -> dict[str, Any]:
    """The job's status after the command of its check's pod has been run here."""
    job = parse(raw)
    manifest, log = folder / "job.yaml", folder / "termination-log"
    rendered: Any = configmap(job)
    manifest.write_text(rendered["data"][MANIFEST_KEY])
    pod: Any = preflight_pod(job, "trainer:1")
    program, *arguments = pod["spec"]["containers"][0]["command"]
    assert program == "detectron-trainer"
    here = {MANIFEST_PATH: str(manifest), TERMINATION_LOG: str(log)}
    code = main([here.get(argument, argument) for argument in arguments])
    terminated = {"exitCode": code, "message": log.read_text()}
    ended = check_pod("Failed" if code else "Succeeded", terminated=terminated)
    status = plan(job, [ended], None, START, DEFAULTS).status
    assert status is not None
    return dict(status)


def job(data: Path, **spec: object) -> RawObject:
    volume = {"name": "data", "claimName": "tiny", "mountPath": str(data), "readOnly": True}
    preflight = {"enabled": True, "timeoutSeconds": 60}
    tiny_spec = {name: tiny.job(data)["spec"][name] for name in ("config", "datasets", "weights", "output")}
    return raw_job(**{**tiny_spec, "volumes": [volume], "preflight": preflight, **spec})


def test_a_good_job_passes(data: Path, tmp_path: Path) -> None:
    status = checked(job(data), tmp_path)
    assert status["preflight"]["phase"] == "Passed"
    assert status["preflight"]["message"].startswith("no problems; ")


def test_every_problem_is_in_the_job_s_status(data: Path, tmp_path: Path) -> None:
    status = checked(job(data, plugins=["no_such_module"], weights={"source": "/no/such.pth"}), tmp_path)
    assert status["phase"] == "Failed"
    assert status["failure"]["reason"] == "InvalidConfig"
    for words in ("spec.plugins[0]: no_such_module", "/no/such.pth"):
        assert words in status["failure"]["message"]
