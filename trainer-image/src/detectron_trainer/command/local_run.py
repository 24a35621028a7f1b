"""What a job becomes on one machine: how many processes, which folders for its volumes, which environment.

The worker finds here what it finds in a pod (``docs/pod-contract.md``), so the same manifest trains in both.
"""

from __future__ import annotations

import difflib
import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from detectron_trainer.job.manifest import Job, parse_job, read_job

LOG = "log.txt"
_ATTEMPT = "attempt"
_FOREIGN = ("PET_", "DETECTRON_", "TORCHELASTIC_", "TORCH_ELASTIC_")
_SHUTDOWN_MARGIN_SECONDS = 5


class UsageError(Exception):
    """The command cannot be carried out as it was given; the message says what to change."""


@dataclass(frozen=True)
class Machine:
    """What there is to train on: CPU cores and GPUs that this process may use."""

    cores: int
    gpus: int

    @classmethod
    def here(cls) -> Machine:
        import torch

        affinity = getattr(os, "sched_getaffinity", None)  # Linux only
        cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
        return cls(cores=cores, gpus=torch.cuda.device_count())


@dataclass(frozen=True, kw_only=True)
class LocalRun:
    """A job that is ready to run here.

    `mounts` holds local folders by mount path, `processes` is the world size, `attempt` counts the lives of
    the run in `output`.
    """

    job: Job
    output: Path
    mounts: Mapping[str, str]
    processes: int
    cores: int
    metrics_port: int
    attempt: int

    @property
    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(self.processes), "--module", "detectron_trainer"),
        ]

    def manifest(self) -> str:
        """The manifest with its defaults, as the API server would have stored it."""
        return self.job.model_dump_json(by_alias=True, exclude_none=True)

    def environment(self, inherited: Mapping[str, str], folder: Path) -> dict[str, str]:
        """The variables of the pod contract over the job's own over those of this shell.

        `folder` holds ``job.json`` and receives the termination log.
        """
        grace = self.job.spec.checkpoint.grace_period_seconds
        kept = {name: value for name, value in inherited.items() if not name.startswith(_FOREIGN)}
        return {
            "OMP_NUM_THREADS": str(max(1, self.cores // self.processes)),
            **kept,
            **{each.name: each.value for each in self.job.spec.env if each.value is not None},
            "PYTHONUNBUFFERED": "1",
            "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(grace - _SHUTDOWN_MARGIN_SECONDS),
            "DETECTRON_JOB": f"{self.job.metadata.namespace}/{self.job.metadata.name}",
            "DETECTRON_ATTEMPT": str(self.attempt),
            "DETECTRON_NODE": "0",
            "DETECTRON_MANIFEST": str(folder / "job.json"),
            "DETECTRON_OUTPUT": str(self.output),
            "DETECTRON_METRICS_HOST": "127.0.0.1",
            "DETECTRON_METRICS_PORT": str(self.metrics_port),
            "DETECTRON_TERMINATION_LOG": str(folder / "termination-log"),
            "DETECTRON_PATHS": json.dumps(dict(self.mounts)),
        }


def read(path: Path, overrides: Sequence[str]) -> Job:
    """The job in the file at `path`, with `overrides` on top of its own.

    Raises:
        UsageError: there is no such file.
        InvalidConfigError: the manifest or an override is not valid.
    """
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file; name the job's manifest")
    return with_overrides(read_job(path), overrides)


def with_overrides(job: Job, overrides: Sequence[str]) -> Job:
    """`job` with more ``KEY VALUE`` pairs merged last.

    Raises:
        InvalidConfigError: one of them is no such pair.
    """
    document = job.model_dump(mode="json", by_alias=True, exclude_none=True)
    document["spec"]["config"]["overrides"] += overrides
    return parse_job(json.dumps(document))


def mount(job: Job, folders: Mapping[str, Path], code: Mapping[str, Path]) -> dict[str, str]:
    """The local folder for each mount path of the job's volumes and of its code.

    Args:
        folders: by the volume's name.
        code: by the ConfigMap's name.

    Raises:
        UsageError: a volume or ConfigMap has no folder, a folder does not exist or belongs to none of them.
    """
    volumes = {volume.name: volume.mount_path for volume in job.spec.volumes}
    modules = {each.config_map_name: each.folder for each in job.spec.code}
    complaints = [*_unfit("volume", volumes, folders), *_unfit("code", modules, code)]
    if complaints:
        raise UsageError("; ".join(sorted(complaints)))
    mounted = {path: str(folders[name].resolve()) for name, path in volumes.items()}
    return mounted | {path: str(code[name].resolve()) for name, path in modules.items()}


def _unfit(option: str, wanted: Mapping[str, str], given: Mapping[str, Path]) -> Iterator[str]:
    """What is wrong with the folders given for mount paths, both by name."""
    for name in given.keys() - wanted.keys():
        close = difflib.get_close_matches(name, wanted, n=1)
        known = f"did you mean {close[0]}?" if close else f"it has {', '.join(sorted(wanted)) or 'none'}"
        yield f"the job has no {option} {name}: {known}"
    for name, path in wanted.items():
        if name not in given:
            yield f"{option} {name} ({path}) needs a folder of this machine: --{option} {name}=DIR"
        elif not given[name].is_dir():
            yield f"--{option} {name}={given[name]}: there is no such folder"


def from_the_shell(job: Job, shell: Mapping[str, str]) -> list[str]:
    """The objects of a cluster for whose variables this shell's environment stands in.

    Raises:
        UsageError: a variable of `spec.env` is in a Secret or ConfigMap, and not in `shell`.
    """
    stored = [variable for variable in job.spec.env if variable.value_from is not None]
    missing = [f"{each.name} ({each.value_from})" for each in stored if each.name not in shell]
    if missing:
        raise UsageError(f"only a cluster has {', '.join(missing)}: set it in this shell's environment")
    return [f"{each.name}, {each.value_from}" for each in stored] + [str(each) for each in job.spec.env_from]


def count_processes(job: Job, machine: Machine, wanted: int | None) -> int:
    """How many processes stand for the job's gang here.

    As many as in the cluster where the machine has the GPUs, or without GPUs the cores, for them; else the
    most that divide them, so that a batch which is divisible there is divisible here.

    Args:
        wanted: the user's own choice.

    Raises:
        UsageError: the choice needs more GPUs than there are.
    """
    gang = job.spec.num_nodes * job.spec.processes_per_node
    if wanted is not None:
        if machine.gpus and wanted > machine.gpus:
            raise UsageError(
                f"--nproc {wanted}: each process needs a GPU, and this machine has {machine.gpus}"
            )
        return wanted
    room = machine.gpus or machine.cores
    return max(count for count in range(1, max(1, min(gang, room)) + 1) if gang % count == 0)


def explain_processes(job: Job, processes: int) -> str | None:
    """One line on how the gang is laid out here, None where it is as the manifest says."""
    nodes, each = job.spec.num_nodes, job.spec.processes_per_node
    if (nodes, each) == (1, processes):
        return None
    there = f"{nodes} {'node' if nodes == 1 else 'nodes'} of {each} {'process' if each == 1 else 'processes'}"
    here = "one process" if processes == 1 else f"{processes} processes"
    return f"{there} run here as {here} on one machine; the global batch is the same"


def next_attempt(output: Path) -> int:
    """One more than the attempt that last opened `output` (the worker's fence notes it there), else 0."""
    try:
        return int((output / _ATTEMPT).read_text()) + 1
    except (FileNotFoundError, ValueError):
        return 0


def free_port(wanted: int) -> int:
    """`wanted`, or any free port of this machine where that is taken."""
    for port in (wanted, 0):
        try:
            with socket.create_server(("127.0.0.1", port)) as server:
                return int(server.getsockname()[1])
        except OSError:
            continue
    raise UsageError(f"--metrics-port {wanted}: neither this nor any other port can be served")
