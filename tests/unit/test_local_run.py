"""What a job becomes on one machine, before anything is started."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from detectron_trainer.command.local_run import (
    LocalRun,
    Machine,
    UsageError,
    count_processes,
    explain_processes,
    free_port,
    from_the_shell,
    mount,
    next_attempt,
    with_overrides,
)
from detectron_trainer.failures import InvalidConfigError
from detectron_trainer.job.manifest import Job, parse_job

CPUS = Machine(cores=4, gpus=0)


def job(**spec: Any) -> Job:
    dataset = {"name": "d", "split": "train", "annotations": "/data/train.json", "images": "/data/train"}
    document = {
        "apiVersion": "detectron.dev/v1alpha1",
        "kind": "DetectronTrainingJob",
        "metadata": {"name": "small", "namespace": "team"},
        "spec": {
            "config": {"base": "COCO-Detection/retinanet_R_50_FPN_1x.yaml"},
            "datasets": [dataset],
            "output": {"ephemeral": True},
            **spec,
        },
    }
    return parse_job(json.dumps(document))


VOLUMES = [
    {"name": "data", "claimName": "data-claim", "mountPath": "/data"},
    {"name": "weights", "claimName": "weights-claim", "mountPath": "/weights"},
]


def local_run(job: Job, **changes: Any) -> LocalRun:
    defaults: dict[str, Any] = {
        "job": job,
        "output": Path("/somewhere/output"),
        "mounts": {"/data": "/home/me/data"},
        "processes": 2,
        "cores": 8,
        "metrics_port": 9464,
        "attempt": 3,
    }
    return LocalRun(**{**defaults, **changes})


def test_volumes_become_folders(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()

    mounts = mount(job(volumes=VOLUMES), {"data": tmp_path / "data", "weights": tmp_path}, {})

    assert mounts == {"/data": str(tmp_path / "data"), "/weights": str(tmp_path)}


def test_every_complaint_about_volumes_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        mount(job(volumes=VOLUMES), {"weight": tmp_path, "data": tmp_path / "nowhere"}, {})

    message = str(caught.value)
    assert "the job has no volume weight: did you mean weights?" in message
    assert "volume weights (/weights) needs a folder of this machine: --volume weights=DIR" in message
    assert f"--volume data={tmp_path}/nowhere: there is no such folder" in message


def test_a_folder_for_a_job_without_volumes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the job has no volume data: it has none"):
        mount(job(), {"data": tmp_path}, {})


def test_code_becomes_folders_and_every_complaint_about_it_is_said(tmp_path: Path) -> None:
    given = job(code=[{"configMapName": "models"}, {"configMapName": "loops"}])
    folders = {"models": tmp_path, "loops": tmp_path}
    assert mount(given, {}, folders) == {
        "/opt/detectron/code/models": str(tmp_path),
        "/opt/detectron/code/loops": str(tmp_path),
    }
    with pytest.raises(UsageError) as caught:
        mount(given, {}, {"model": tmp_path, "loops": tmp_path / "nowhere"})
    assert str(caught.value).split("; ") == [
        f"--code loops={tmp_path}/nowhere: there is no such folder",
        "code models (/opt/detectron/code/models) needs a folder of this machine: --code models=DIR",
        "the job has no code model: did you mean models?",
    ]


def test_the_shell_stands_in_for_what_a_cluster_keeps(tmp_path: Path) -> None:
    stored = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}
    given = job(env=[stored], envFrom=[{"configMapRef": {"name": "proxy"}}])
    assert from_the_shell(given, {"TOKEN": "mine"}) == ["TOKEN, key token of Secret hub", "ConfigMap proxy"]
    environment = local_run(given).environment({"TOKEN": "mine", "HTTP_PROXY": "too"}, tmp_path)
    assert (environment["TOKEN"], environment["HTTP_PROXY"]) == ("mine", "too")
    with pytest.raises(UsageError, match=r"only a cluster has TOKEN \(key token of Secret hub\): set it"):
        from_the_shell(given, {})


@pytest.mark.parametrize(
    ("nodes", "each", "machine", "wanted", "expected"),
    [
        (1, None, CPUS, None, 1),
        (2, 1, CPUS, None, 2),
        (2, 2, CPUS, None, 4),
        (2, 8, CPUS, None, 4),
        (3, 2, CPUS, None, 3),
        (5, 1, CPUS, None, 1),
        (512, 64, Machine(cores=1, gpus=0), None, 1),
        (2, 4, Machine(cores=64, gpus=2), None, 2),
        (1, 2, CPUS, 3, 3),
    ],
)
def test_the_gang_fits_the_machine(
    nodes: int, each: int | None, machine: Machine, wanted: int | None, expected: int
) -> None:
    spec: dict[str, Any] = (
        {"numNodes": nodes} if each is None else {"numNodes": nodes, "numProcPerNode": each}
    )

    assert count_processes(job(**spec), machine, wanted) == expected


def test_more_processes_than_gpus_are_refused() -> None:
    with pytest.raises(UsageError, match="--nproc 3: each process needs a GPU, and this machine has 2"):
        count_processes(job(), Machine(cores=8, gpus=2), 3)


def test_another_layout_is_explained_in_one_line() -> None:
    assert explain_processes(job(), 1) is None
    assert explain_processes(job(numProcPerNode=2), 2) is None
    assert explain_processes(job(numNodes=2), 2) == (
        "2 nodes of 1 process run here as 2 processes on one machine; the global batch is the same"
    )
    assert explain_processes(job(numProcPerNode=2), 1) == (
        "1 node of 2 processes run here as one process on one machine; the global batch is the same"
    )


def test_the_worker_finds_what_it_finds_in_a_pod(tmp_path: Path) -> None:
    mine = {"HOME": "/home/me", "PET_NNODES": "9", "DETECTRON_ATTEMPT": "99", "GREETING": "shell"}
    run = local_run(
        job(env=[{"name": "GREETING", "value": "manifest"}], checkpoint={"gracePeriodSeconds": 60})
    )

    environment = run.environment(mine, tmp_path)

    assert environment == {
        "HOME": "/home/me",
        "GREETING": "manifest",
        "OMP_NUM_THREADS": "4",
        "PYTHONUNBUFFERED": "1",
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "55",
        "DETECTRON_JOB": "team/small",
        "DETECTRON_ATTEMPT": "3",
        "DETECTRON_NODE": "0",
        "DETECTRON_MANIFEST": str(tmp_path / "job.json"),
        "DETECTRON_OUTPUT": "/somewhere/output",
        "DETECTRON_METRICS_HOST": "127.0.0.1",
        "DETECTRON_METRICS_PORT": "9464",
        "DETECTRON_TERMINATION_LOG": str(tmp_path / "termination-log"),
        "DETECTRON_PATHS": '{"/data": "/home/me/data"}',
    }


def test_threads_are_shared_among_the_processes(tmp_path: Path) -> None:
    crowded = local_run(job(), processes=16, cores=2)

    assert crowded.environment({}, tmp_path)["OMP_NUM_THREADS"] == "1"
    assert crowded.environment({"OMP_NUM_THREADS": "7"}, tmp_path)["OMP_NUM_THREADS"] == "7"


def test_the_manifest_carries_the_api_servers_defaults() -> None:
    run = local_run(job(volumes=VOLUMES))

    document = json.loads(run.manifest())

    assert parse_job(run.manifest()) == run.job
    assert document["spec"]["checkpoint"] == {"keep": 3, "asynchronous": False, "gracePeriodSeconds": 120}
    assert document["spec"]["metrics"] == {
        "period": 20,
        "scalars": [],
        "categories": 0,
        "writers": [],
    }


def test_overrides_come_last() -> None:
    first = job(config={"base": "a.yaml", "overrides": ["SOLVER.MAX_ITER 5"]})

    both = with_overrides(first, ["SOLVER.BASE_LR 0.1"])

    assert both.spec.config.overrides == ("SOLVER.MAX_ITER 5", "SOLVER.BASE_LR 0.1")


def test_an_override_without_a_value_is_refused() -> None:
    with pytest.raises(InvalidConfigError, match=r"spec\.config\.overrides\[0\]"):
        with_overrides(job(), ["SOLVER.BASE_LR"])


def test_each_life_in_an_output_folder_has_the_next_number(tmp_path: Path) -> None:
    assert next_attempt(tmp_path) == 0
    (tmp_path / "attempt").write_text("4\n")
    assert next_attempt(tmp_path) == 5


def test_a_taken_port_is_replaced() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) not in (0, port)
    assert free_port(port) == port
