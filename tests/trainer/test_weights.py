"""The weights that a job starts from: found, downloaded whole, and the ones that were meant."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from detectron_trainer.checkpointing.checkpoint import AtomicCheckpointer
from detectron_trainer.checkpointing.weights import fetch
from detectron_trainer.failures import TrainingError, WeightsRefusedError, WeightsUnavailableError
from detectron_trainer.job.weight_source import resolve
from tests.trainer import tiny
from tests.trainer.conftest import ROOT, Launcher, Run, free_port
from tests.trainer.weight_server import WeightServer

CONTENT = bytes(range(256)) * 8192
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HOST = "https://dl.fbaipublicfiles.com"


@pytest.fixture
def server() -> Iterator[WeightServer]:
    server = WeightServer({"w.pth": CONTENT})
    with server.serving():
        yield server


@pytest.mark.parametrize(
    ("source", "resolved"),
    [
        ("", ""),
        ("/data/w.pth", "/data/w.pth"),
        ("https://example.com/w.pth", "https://example.com/w.pth"),
        (
            "detectron2://ImageNetPretrained/MSRA/R-50.pkl",
            f"{HOST}/detectron2/ImageNetPretrained/MSRA/R-50.pkl",
        ),
        (
            "catalog://ImageNetPretrained/FAIR/R-50-GN",
            f"{HOST}/detectron/ImageNetPretrained/47261647/R-50-GN.pkl",
        ),
        (
            "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml",
            f"{HOST}/detectron2/COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x/137849600/model_final_f10217.pkl",
        ),
    ],
)
def test_a_source_is_a_path_or_a_url(source: str, resolved: str) -> None:
    assert resolve(source) == resolved


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_4x.yaml", "did you mean COCO-InstanceSegmentation/"),
        ("w.pth", "a file is named by its absolute path"),
        ("s3://bucket/w.pth", "no http"),
        ("file:///etc/passwd", "no http"),
    ],
)
def test_what_names_no_weights_is_refused(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve(source)


def test_a_file_is_downloaded_once(server: WeightServer, tmp_path: Path) -> None:
    paths = {fetch(server.url("w.pth"), sha256, tmp_path) for sha256 in (None, SHA256, SHA256)}
    (path,) = paths
    assert (path.name, path.read_bytes()) == ("w.pth", CONTENT)
    assert server.requests == ["w.pth"]
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]


def test_a_damaged_download_is_replaced(server: WeightServer, tmp_path: Path) -> None:
    fetch(server.url("w.pth"), None, tmp_path).write_bytes(b"damaged")
    assert fetch(server.url("w.pth"), SHA256, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("nothing.pth", WeightsRefusedError, "404"),
        ("403", WeightsRefusedError, "403"),
        ("503", WeightsUnavailableError, "503"),
        ("429", WeightsUnavailableError, "429"),
    ],
)
def test_the_server_s_answer_decides_on_another_attempt(
    server: WeightServer, tmp_path: Path, path: str, error: type[TrainingError], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        fetch(server.url(path), None, tmp_path)
    assert raised.value.retryable == (error is WeightsUnavailableError)


def test_a_broken_connection_leaves_nothing(server: WeightServer, tmp_path: Path) -> None:
    server.missing = 100000
    with pytest.raises(WeightsUnavailableError, match=f"of {len(CONTENT)} bytes"):
        fetch(server.url("w.pth"), None, tmp_path)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
    server.missing = 0
    assert fetch(server.url("w.pth"), None, tmp_path).read_bytes() == CONTENT


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailableError, match="refused"):
        fetch(f"http://127.0.0.1:{free_port()}/w.pth", None, tmp_path)


def test_another_file_than_was_meant(server: WeightServer, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(CONTENT)
    for source in (server.url("w.pth"), str(tmp_path / "w.pth")):
        with pytest.raises(WeightsRefusedError, match=f"has SHA-256 {SHA256}, not 00"):
            fetch(source, "0" * 64, tmp_path / "cache")
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


def job(data: Path, server: WeightServer, sha256: str, *overrides: str) -> dict[str, Any]:
    weights = {"source": server.url("w.pth"), "sha256": sha256}
    return tiny.job(data, spec={"weights": weights}, overrides=("SOLVER.MAX_ITER 1", *overrides))


def test_one_process_downloads_and_all_start_from_it(
    launcher: Launcher, alone: Run, tiny_data: Path, server: WeightServer, tmp_path: Path
) -> None:
    server.files["w.pth"] = trained = (alone.output / "model_final.pth").read_bytes()
    sha256 = hashlib.sha256(trained).hexdigest()
    run = launcher.run(
        job(tiny_data, server, sha256, "SOLVER.BASE_LR 0.0", "SOLVER.WEIGHT_DECAY 0.0"),
        processes=2,
        environment={"FVCORE_CACHE": str(tmp_path)},
    )
    assert run.verdict["reason"] == "Completed", run.log
    assert server.requests == ["w.pth"]
    ours, theirs = (
        torch.load(folder / "model_final.pth", weights_only=True)["model"]
        for folder in (run.output, alone.output)
    )
    # A learning rate of nothing leaves what was loaded, but for what batch norm counts.
    kept = [name for name in ours if "running" not in name and "num_batches" not in name]
    assert all(torch.equal(ours[name], theirs[name]) for name in kept)


def test_a_loop_of_the_user_s_own_finds_them_in_its_pod(
    launcher: Launcher, digits: Path, server: WeightServer, tmp_path: Path
) -> None:
    buffer = io.BytesIO()
    torch.save({"model": {}}, buffer)
    server.files["w.pth"] = buffer.getvalue()
    code = ROOT / "examples" / "user_code"
    manifest = yaml.safe_load((code / "plain-loop.yaml").read_text())
    manifest["spec"]["weights"] = {"source": server.url("w.pth")}
    manifest["spec"]["config"]["overrides"] = ["SOLVER.MAX_ITER 1", "DATASETS.TEST ()"]
    paths = json.dumps({"/data": str(digits), "/code": str(code)})
    environment = {"FVCORE_CACHE": str(tmp_path), "DETECTRON_PATHS": paths}
    run = launcher.run(manifest, processes=2, environment=environment)
    assert run.verdict["reason"] == "Completed", run.log
    assert server.requests == ["w.pth"]
    assert f"Loading from {tmp_path}/detectron_trainer/" in run.log


def test_a_job_with_other_weights_never_trains(
    launcher: Launcher, tiny_data: Path, server: WeightServer, tmp_path: Path
) -> None:
    manifest = job(tiny_data, server, "0" * 64)
    run = launcher.run(manifest, processes=2, environment={"FVCORE_CACHE": str(tmp_path)})
    verdict = run.verdict
    assert (verdict["reason"], verdict["retryable"], verdict["rank"]) == ("InvalidConfig", False, 0), run.log
    assert "spec.weights.sha256" in verdict["message"]
    assert run.rows == []


def test_a_file_that_holds_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(CONTENT)
    checkpointer = AtomicCheckpointer(
        nn.Linear(1, 1), tmp_path, admit=lambda: None, saved=lambda path, completed: None
    )
    with pytest.raises(WeightsRefusedError, match="holds no weights"):
        checkpointer.begin_with(str(path))
