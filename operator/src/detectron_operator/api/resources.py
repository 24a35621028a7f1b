"""What each pod asks for, and how many processes train with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from detectron_operator import shape
from detectron_operator.api import fields
from detectron_operator.api.fields import Raw
from detectron_operator.quantity import parse_quantity
from detectron_operator.shape import ShapeError

MAX_PROCESSES = 64

_PATH = "spec.resourcesPerNode"


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Quantities by resource name, as written."""

    requests: Mapping[str, str]
    limits: Mapping[str, str]


def resources(spec: Raw) -> Resources:
    """`spec.resourcesPerNode`, held to what the API server would accept in a pod."""
    raw = shape.mapping(spec.get("resourcesPerNode", {}), _PATH)
    found = Resources(requests=_quantities(raw, "requests"), limits=_quantities(raw, "limits"))
    _check_requests(found.requests, found.limits)
    return found


def processes(spec: Raw, limits: Mapping[str, str]) -> int:
    """One process a GPU: Detectron2 drives one device from each, and DDP needs one device a process."""
    gpus = sum(_whole_gpus(name, written) for name, written in limits.items() if is_gpu(name))
    if "numProcPerNode" not in spec:
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
    """Whether a resource is counted in CUDA devices: whole GPUs, or MIG slices of one."""
    return resource.endswith("/gpu") or resource.startswith("nvidia.com/mig-")


def _whole_gpus(name: str, written: str) -> int:
    amount = parse_quantity(written)
    if not 0 <= amount <= MAX_PROCESSES or amount != int(amount):
        raise ShapeError(
            f"{_PATH}.limits[{name}]", f"is {written}, must be a whole number in 0..{MAX_PROCESSES}"
        )
    return int(amount)


def _check_requests(requests: Mapping[str, str], limits: Mapping[str, str]) -> None:
    """What the API server would refuse in the pods, said here where the job's author sees it."""
    for name, written in requests.items():
        path = f"{_PATH}.requests[{name}]"
        if "/" in name and name not in limits:
            raise ShapeError(path, "needs an equal entry in limits: devices cannot be overcommitted")
        if name not in limits:
            continue
        request, limit = parse_quantity(written), parse_quantity(limits[name])
        if request > limit:
            raise ShapeError(path, f"is {written}, more than the limit of {limits[name]}")
        if "/" in name and request != limit:
            raise ShapeError(path, f"is {written}, must equal the limit of {limits[name]}")


def _quantities(raw: Raw, which: str) -> dict[str, str]:
    path = f"{_PATH}.{which}"
    found = {}
    for name, value in shape.mapping(raw.get(which, {}), path).items():
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ShapeError(f"{path}[{name}]", f"must be a quantity, not {type(value).__name__}")
        try:
            negative = parse_quantity(value) < 0
        except ValueError as error:
            raise ShapeError(f"{path}[{name}]", str(error)) from error
        if negative:
            raise ShapeError(f"{path}[{name}]", f"is {value}, must not be negative")
        found[name] = str(value)
    return found
