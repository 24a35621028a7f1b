"""The custom resource as the operator sees it: raw objects become frozen dataclasses here and nowhere else.

The API server applies the CRD's defaults and bounds. Checked again is only what sizes or names children,
because an object may have been stored under an older, laxer schema, and what no schema can say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from detectron_operator import names, shape
from detectron_operator.quantity import parse_quantity
from detectron_operator.shape import MISSING, ShapeError

MAX_NODES = 512
MAX_PROCESSES = 64
MAX_MANIFEST_BYTES = 1_000_000
"""The manifest travels in a ConfigMap, which the API server bounds to 1 MiB."""


class SpecError(ValueError):
    """A job that cannot be honoured as it is written: the field at fault and what to change."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


@dataclass(frozen=True, kw_only=True)
class Volume:
    """An existing claim, mounted into every pod."""

    name: str
    claim_name: str
    mount_path: str
    sub_path: str | None
    read_only: bool


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where node 0 writes: a folder of a claim, or an emptyDir where `claim_name` is None."""

    claim_name: str | None
    sub_path: str | None


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What the operator itself acts upon; the trainer reads the whole of it from `document`."""

    image: str | None
    image_pull_policy: str
    image_pull_secrets: tuple[str, ...]
    num_nodes: int
    num_proc_per_node: int
    requests: Mapping[str, str]
    limits: Mapping[str, str]
    output: Output
    volumes: tuple[Volume, ...]
    env: Mapping[str, str]
    node_selector: Mapping[str, str]
    tolerations: tuple[Mapping[str, object], ...]
    grace_period_seconds: int
    suspend: bool
    backoff_limit: int
    document: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """A DetectronTrainingJob; `status` is as stored, empty at first."""

    namespace: str
    name: str
    uid: str
    generation: int
    deleting: bool
    created: datetime
    spec: Spec
    status: Mapping[str, object]


def parse(raw: Mapping[str, object]) -> TrainingJob:
    """A job from its raw object; SpecError names the field that cannot be honoured."""
    try:
        metadata = shape.mapping(raw.get("metadata", MISSING), "metadata")
        name = shape.text(metadata.get("name", MISSING), "metadata.name", at_most=253)
        if not names.is_job_name(name):
            raise ShapeError(
                "metadata.name", f"cannot name pods: at most {names.MAX_JOB_NAME} of a-z, 0-9 and '-'"
            )
        return TrainingJob(
            namespace=shape.text(metadata.get("namespace", MISSING), "metadata.namespace", at_most=63),
            name=name,
            uid=shape.text(metadata.get("uid", MISSING), "metadata.uid", at_most=128),
            generation=_integer(metadata, "metadata", "generation", at_least=0, at_most=2**63 - 1),
            deleting=metadata.get("deletionTimestamp") is not None,
            created=shape.time(metadata.get("creationTimestamp", MISSING), "metadata.creationTimestamp"),
            spec=_spec(shape.mapping(raw.get("spec", MISSING), "spec")),
            status=shape.mapping(raw.get("status") or {}, "status"),
        )
    except ShapeError as error:
        raise SpecError(error.path, error.message) from error


def _spec(raw: Mapping[str, object]) -> Spec:
    if len(json.dumps(raw, ensure_ascii=False).encode(errors="replace")) > MAX_MANIFEST_BYTES:
        raise ShapeError(
            "spec", f"is larger than {MAX_MANIFEST_BYTES} bytes: move parts of it into files of a volume"
        )
    resources = shape.mapping(raw.get("resourcesPerNode", {}), "spec.resourcesPerNode")
    requests = _quantities(resources, "requests")
    limits = _quantities(resources, "limits")
    _check_requests(requests, limits)
    checkpoint = shape.mapping(raw.get("checkpoint", MISSING), "spec.checkpoint")
    run_policy = shape.mapping(raw.get("runPolicy", MISSING), "spec.runPolicy")
    return Spec(
        image=_optional_text(raw, "spec", "image"),
        image_pull_policy=_text(raw, "spec", "imagePullPolicy"),
        image_pull_secrets=_texts(raw, "spec", "imagePullSecrets"),
        num_nodes=_integer(raw, "spec", "numNodes", at_least=1, at_most=MAX_NODES),
        num_proc_per_node=_processes(raw, limits),
        requests=requests,
        limits=limits,
        output=_output(shape.mapping(raw.get("output", MISSING), "spec.output")),
        volumes=tuple(_volume(item, path) for item, path in _objects(raw, "spec", "volumes")),
        env={
            _text(item, path, "name"): _text(item, path, "value")
            for item, path in _objects(raw, "spec", "env")
        },
        node_selector=_text_map(raw, "spec", "nodeSelector"),
        tolerations=tuple(item for item, _ in _objects(raw, "spec", "tolerations")),
        grace_period_seconds=_integer(
            checkpoint, "spec.checkpoint", "gracePeriodSeconds", at_least=10, at_most=3600
        ),
        suspend=shape.boolean(run_policy.get("suspend", MISSING), "spec.runPolicy.suspend"),
        backoff_limit=_integer(run_policy, "spec.runPolicy", "backoffLimit", at_least=0, at_most=1000),
        document=raw,
    )


def _processes(raw: Mapping[str, object], limits: Mapping[str, str]) -> int:
    """One process a GPU: Detectron2 drives one device from each, and DDP needs one device a process."""
    gpus = sum(_whole_gpus(name, written) for name, written in limits.items() if is_gpu(name))
    if "numProcPerNode" not in raw:
        return gpus or 1
    asked = _integer(raw, "spec", "numProcPerNode", at_least=1, at_most=MAX_PROCESSES)
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
            f"spec.resourcesPerNode.limits[{name}]",
            f"is {written}, must be a whole number in 0..{MAX_PROCESSES}",
        )
    return int(amount)


def _check_requests(requests: Mapping[str, str], limits: Mapping[str, str]) -> None:
    """What the API server would refuse in the pods, said here where the job's author sees it."""
    for name, written in requests.items():
        path = f"spec.resourcesPerNode.requests[{name}]"
        if "/" in name and name not in limits:
            raise ShapeError(path, "needs an equal entry in limits: devices cannot be overcommitted")
        if name not in limits:
            continue
        request, limit = parse_quantity(written), parse_quantity(limits[name])
        if request > limit:
            raise ShapeError(path, f"is {written}, more than the limit of {limits[name]}")
        if "/" in name and request != limit:
            raise ShapeError(path, f"is {written}, must equal the limit of {limits[name]}")


def _quantities(resources: Mapping[str, object], which: str) -> dict[str, str]:
    path = f"spec.resourcesPerNode.{which}"
    found = {}
    for name, value in shape.mapping(resources.get(which, {}), path).items():
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


def _output(raw: Mapping[str, object]) -> Output:
    claim = _optional_text(raw, "spec.output", "claimName")
    ephemeral = shape.boolean(raw.get("ephemeral", False), "spec.output.ephemeral")
    if (claim is None) != ephemeral:
        raise ShapeError("spec.output", "needs exactly one of claimName and ephemeral")
    return Output(claim_name=claim, sub_path=_optional_text(raw, "spec.output", "subPath"))


def _volume(raw: Mapping[str, object], path: str) -> Volume:
    return Volume(
        name=_text(raw, path, "name"),
        claim_name=_text(raw, path, "claimName"),
        mount_path=_text(raw, path, "mountPath"),
        sub_path=_optional_text(raw, path, "subPath"),
        read_only=shape.boolean(raw.get("readOnly", MISSING), f"{path}.readOnly"),
    )


def _integer(raw: Mapping[str, object], path: str, key: str, *, at_least: int, at_most: int) -> int:
    return shape.integer(raw.get(key, MISSING), f"{path}.{key}", at_least=at_least, at_most=at_most)


def _text(raw: Mapping[str, object], path: str, key: str) -> str:
    return shape.text(raw.get(key, MISSING), f"{path}.{key}", at_most=65536)


def _optional_text(raw: Mapping[str, object], path: str, key: str) -> str | None:
    return _text(raw, path, key) if key in raw else None


def _texts(raw: Mapping[str, object], path: str, key: str) -> tuple[str, ...]:
    items = shape.sequence(raw.get(key, ()), f"{path}.{key}", at_most=64)
    return tuple(shape.text(item, f"{path}.{key}[{i}]", at_most=65536) for i, item in enumerate(items))


def _text_map(raw: Mapping[str, object], path: str, key: str) -> dict[str, str]:
    pairs = shape.mapping(raw.get(key, {}), f"{path}.{key}").items()
    return {name: shape.text(value, f"{path}.{key}[{name}]", at_most=65536) for name, value in pairs}


def _objects(raw: Mapping[str, object], path: str, key: str) -> list[tuple[Mapping[str, object], str]]:
    items = shape.sequence(raw.get(key, ()), f"{path}.{key}", at_most=64)
    return [(shape.mapping(item, f"{path}.{key}[{i}]"), f"{path}.{key}[{i}]") for i, item in enumerate(items)]
