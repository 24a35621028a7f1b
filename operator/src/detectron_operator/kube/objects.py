"""The parts of a Kubernetes object that every kind has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, cast

from detectron_operator import names

Object = Mapping[str, object]


class Key(NamedTuple):
    """What names an object of a known kind."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A kind, as the API serves it."""

    group: str
    version: str
    plural: str

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """The path below the server's URL; without a namespace, that of all namespaces."""
        root = f"/apis/{self.group}" if self.group else "/api"
        within = f"/namespaces/{namespace}" if namespace else ""
        rest = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}/{self.version}{within}/{self.plural}{rest}"


def resource_of(manifest: Object) -> Resource:
    """The kind of a manifest; the plurals of all that we create are regular."""
    group, _, version = str(manifest["apiVersion"]).rpartition("/")
    return Resource(group=group, version=version, plural=f"{str(manifest['kind']).lower()}s")


JOBS = Resource(group=names.GROUP, version=names.VERSION, plural=names.PLURAL)
PODS = Resource(group="", version="v1", plural="pods")
EVENTS = Resource(group="", version="v1", plural="events")
LEASES = Resource(group="coordination.k8s.io", version="v1", plural="leases")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The metadata that tells which object it is, and which state of it.

    Attributes:
        version: resourceVersion; comparable within one resource since the API server counts etcd revisions.
        controller: uid of the owner that manages it, None if nobody does.
        deleting: whether it was deleted and is still there, for a grace period or a finalizer.
    """

    key: Key
    uid: str
    version: int
    controller: str | None
    deleting: bool


def metadata(raw: Object) -> Metadata:
    """Read an object's metadata.

    Raises:
        KeyError, ValueError: the server sent something that is no stored object.
    """
    meta = cast("Mapping[str, object]", raw["metadata"])
    owners = cast("list[Mapping[str, object]]", meta.get("ownerReferences", []))
    return Metadata(
        key=Key(str(meta.get("namespace", "")), str(meta["name"])),
        uid=str(meta["uid"]),
        version=int(str(meta["resourceVersion"])),
        controller=next((str(owner["uid"]) for owner in owners if owner.get("controller")), None),
        deleting="deletionTimestamp" in meta,
    )


def labels_of(raw: Object) -> Object:
    """An object's labels."""
    meta = cast("Mapping[str, object]", raw["metadata"])
    return cast("Object", meta.get("labels") or {})


def without_managed_fields(raw: Object) -> Object:
    """The object without the server's bookkeeping of who set what, which is most of its size."""
    meta = cast("Mapping[str, object]", raw["metadata"])
    if "managedFields" not in meta:
        return raw
    return {**raw, "metadata": {name: value for name, value in meta.items() if name != "managedFields"}}
