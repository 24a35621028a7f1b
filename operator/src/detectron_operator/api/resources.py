"""What each pod asks for, and how many processes train with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from detectron_operator import shape
from detectron_operator.api import fields
from detectron_operator.api.fields import Raw
from detectron_operator.quantity import parse_quantity
from detectron_operator.shape import ShapeError

MAX_PROCESSES = 64

_PATH = "spec.resourcesPerNode"

_FOREIGN = ("gpu.intel.com/", "habana.ai/", "aws.amazon.com/neuron", "google.com/tpu", "huawei.com/Ascend")
"""Accelerators that PyTorch does not drive as CUDA devices, so that Detectron2 would train beside them."""

_NO_ACCELERATOR = re.compile(
    r"rdma|roce|sriov|infiniband|nics?(?![a-z])|(?<![a-z])(?:ib|hca|efa|eni|net|tun|vhost|hostdev|fuse|kvm|sgx|qat)"
)
"""In the names of devices for networks, files, virtual machines and secrets."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Quantities by resource name, as written."""

    requests: Mapping[str, str]
    limits: Mapping[str, str]

    @property
    def gpus(self) -> int:
        """CUDA devices in each pod."""
        return sum(int(parse_quantity(written)) for name, written in self.limits.items() if is_gpu(name))

    @property
    def uncounted(self) -> list[str]:
        """Accelerators, or what may be some, whose number says nothing of CUDA devices."""
        return [name for name, written in self.limits.items() if _is_uncounted(name, written)]


def resources(spec: Raw) -> Resources:
    """`spec.resourcesPerNode`, held to what the API server would accept in a pod."""
    found = quantities(shape.mapping(spec.get("resourcesPerNode", {}), _PATH), _PATH)
    for name, written in found.limits.items():
        if is_gpu(name) or name.startswith(_FOREIGN):
            _check_whole(name, written)
    slices = [name for name, written in found.limits.items() if is_slice(name) and parse_quantity(written)]
    if slices and found.gpus > 1:
        raise ShapeError(
            f"{_PATH}.limits[{slices[0]}]",
            f"gives a pod {found.gpus} devices, of which CUDA shows a process one: ask for a single slice in"
            " each pod, and for more pods by numNodes",
        )
    return found


def quantities(raw: Raw, path: str) -> Resources:
    """An object with `requests` and `limits`, each a quantity by resource name."""
    found = Resources(requests=_quantities(raw, path, "requests"), limits=_quantities(raw, path, "limits"))
    _check_requests(found, path)
    return found


def processes(spec: Raw, asked_for: Resources) -> int:
    """One process a GPU: Detectron2 drives one device from each, and DDP needs one device a process."""
    gpus = asked_for.gpus
    if "numProcPerNode" not in spec:
        _check_counted(asked_for)
        return gpus or 1
    asked = fields.integer(spec, "spec", "numProcPerNode", at_least=1, at_most=MAX_PROCESSES)
    if gpus and asked != gpus:
        raise ShapeError(
            "spec.numProcPerNode",
            f"is {asked}, but resourcesPerNode.limits asks for {gpus} GPUs: each process trains on one GPU of"
            " its own, so leave numProcPerNode out or make the two equal",
        )
    return asked


def is_gpu(resource: str) -> bool:
    """Whether a resource is counted in CUDA devices (ROCm's count as such): whole GPUs, or a slice of one."""
    return resource.endswith("/gpu") or is_slice(resource)


def is_slice(resource: str) -> bool:
    """Whether a resource is a part of a GPU, by MIG or by sharing it over time."""
    return resource.startswith("nvidia.com/mig-") or resource.endswith("/gpu.shared")


def _is_uncounted(name: str, written: str) -> bool:
    if name.startswith(_FOREIGN):
        return parse_quantity(written) > 0
    domain, extended, _ = name.partition("/")
    # Kubernetes keeps its own domain from device plugins.
    if not extended or is_gpu(name) or f".{domain}".endswith(".kubernetes.io"):
        return False
    return parse_quantity(written) in range(1, MAX_PROCESSES + 1) and not _NO_ACCELERATOR.search(name.lower())


def _check_counted(asked_for: Resources) -> None:
    """Refuse to guess how many processes train with accelerators of a name that does not tell."""
    for name in asked_for.uncounted:
        where = f"{_PATH}.limits[{name}]"
        if name.startswith(_FOREIGN):
            raise ShapeError(
                where,
                "is no CUDA device, and Detectron2 would leave it idle; where spec.trainer uses it,"
                " say how many processes do by numProcPerNode",
            )
        if not asked_for.gpus:
            raise ShapeError(
                where,
                "is no name by which GPUs are counted (.../gpu, .../gpu.shared, nvidia.com/mig-...): where it"
                f" is one, write numProcPerNode: {asked_for.limits[name]}, one process a GPU; where it is no"
                " accelerator, the number of processes, such as numProcPerNode: 1",
            )


def _check_whole(name: str, written: str) -> None:
    amount = parse_quantity(written)
    if not 0 <= amount <= MAX_PROCESSES or amount != int(amount):
        raise ShapeError(
            f"{_PATH}.limits[{name}]", f"is {written}, must be a whole number in 0..{MAX_PROCESSES}"
        )


def _check_requests(found: Resources, path: str) -> None:
    """What the API server would refuse in the pods, said here where the job's author sees it."""
    limits = found.limits
    for name, written in found.requests.items():
        where = f"{path}.requests[{name}]"
        if "/" in name and name not in limits:
            raise ShapeError(where, "needs an equal entry in limits: devices cannot be overcommitted")
        if name not in limits:
            continue
        request, limit = parse_quantity(written), parse_quantity(limits[name])
        if request > limit:
            raise ShapeError(where, f"is {written}, more than the limit of {limits[name]}")
        if "/" in name and request != limit:
            raise ShapeError(where, f"is {written}, must equal the limit of {limits[name]}")


def _quantities(raw: Raw, path: str, which: str) -> dict[str, str]:
    pairs = shape.mapping(raw.get(which, {}), f"{path}.{which}").items()
    return {name: fields.quantity(value, f"{path}.{which}[{name}]") for name, value in pairs}
