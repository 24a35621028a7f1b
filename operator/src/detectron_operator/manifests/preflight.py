"""The pod that checks a job before its gang exists: what node 0 mounts, and no GPU.

It goes where the gang may go, so that the volumes of a zone are within reach and the image is then there. It
is no part of the gang, and no queue or gang scheduler holds it back.
"""

from __future__ import annotations

from detectron_operator import labels, names
from detectron_operator.api import TrainingJob
from detectron_operator.manifests import metadata
from detectron_operator.manifests.code import code_folders
from detectron_operator.manifests.placement import node_placement
from detectron_operator.manifests.pod import container, envelope
from detectron_operator.manifests.torchrun import MANIFEST_PATH, TERMINATION_LOG

_NO_GPUS = {"NVIDIA_VISIBLE_DEVICES": "void", "CUDA_VISIBLE_DEVICES": ""}
"""A container runtime for GPUs would else show it all those of the node, which nobody has given to it."""


def preflight_pod(job: TrainingJob, trainer_image: str) -> dict[str, object]:
    """`detectron-trainer check` with the job's manifest, volumes and code."""
    asked = job.spec.preflight
    image = job.spec.image or trainer_image
    checker = container(job, 0, image, _command(job), _NO_GPUS, asked.resources)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(job, names.preflight_pod(job.name), labels.of_preflight(job.name)),
        "spec": {
            **envelope(job, 0),
            # A container's first process heeds no SIGTERM that it does not handle; there is nothing to save.
            "terminationGracePeriodSeconds": 1,
            "activeDeadlineSeconds": asked.timeout_seconds,
            "containers": [checker],
            **node_placement(job),
        },
    }


def _command(job: TrainingJob) -> tuple[str, ...]:
    folders = [("--volume", volume.name, volume.mount_path) for volume in job.spec.volumes]
    folders += [("--code", name, folder) for name, folder in code_folders(job).items()]
    options = [part for option, name, folder in folders for part in (option, f"{name}={folder}")]
    return ("detectron-trainer", "check", MANIFEST_PATH, "--termination-log", TERMINATION_LOG, *options)
