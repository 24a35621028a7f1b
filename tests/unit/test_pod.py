"""The pod contract's environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from detectron_trainer.failures import InvalidConfigError
from detectron_trainer.job.pod import Mounts, Pod

ENVIRONMENT = {
    "DETECTRON_MANIFEST": "/etc/detectron/job.yaml",
    "DETECTRON_OUTPUT": "/output",
    "DETECTRON_ATTEMPT": "3",
    "DETECTRON_METRICS_PORT": "9464",
    "DETECTRON_TERMINATION_LOG": "/dev/termination-log",
}


def test_reads_the_contract_s_variables() -> None:
    assert Pod.from_environment(ENVIRONMENT) == Pod(
        manifest=Path("/etc/detectron/job.yaml"),
        output=Path("/output"),
        attempt=3,
        metrics_port=9464,
        termination_log=Path("/dev/termination-log"),
    )


def test_the_rendezvous_names_the_job() -> None:
    pod = Pod.from_environment({**ENVIRONMENT, "PET_RDZV_ID": "0b9c-11ee-3"})
    assert pod.job_uid == "0b9c-11ee"


def test_names_every_variable_that_is_wrong() -> None:
    environment = {**ENVIRONMENT, "DETECTRON_ATTEMPT": "third"}
    del environment["DETECTRON_OUTPUT"]
    with pytest.raises(InvalidConfigError) as caught:
        Pod.from_environment(environment)
    assert [problem.path for problem in caught.value.problems] == ["DETECTRON_ATTEMPT", "DETECTRON_OUTPUT"]


@pytest.mark.parametrize("text", ["nonsense", "[]", '{"/data": 1}'])
def test_paths_map_mounts_to_folders(text: str) -> None:
    with pytest.raises(InvalidConfigError):
        Pod.from_environment({**ENVIRONMENT, "DETECTRON_PATHS": text})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/data/train.json", "/home/me/data/train.json"),
        ("/data", "/home/me/data"),
        ("/data/cache/x", "/scratch/x"),
        ("/database/x", "/database/x"),
        ("/elsewhere", "/elsewhere"),
    ],
)
def test_the_longest_mount_wins(path: str, expected: str) -> None:
    mounts = Mounts({"/data": "/home/me/data", "/data/cache": "/scratch"})
    assert mounts.locate(path) == Path(expected)
