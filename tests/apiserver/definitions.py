"""Definitions of resources of others, as far as a test needs them: anything goes into their objects."""

from tests.apiserver.api import Object
from tests.cluster.controlplane import ControlPlane
from tests.cluster.waiting import wait_until


def install(plane: ControlPlane, *kinds: tuple[str, str]) -> None:
    """Have the API server serve kinds, each `group/version` and name, and wait until it does."""
    plane.kubectl.apply(*(_definition(api_version, kind) for api_version, kind in kinds))
    for api_version, _ in kinds:
        wait_until(
            lambda path=f"/apis/{api_version}": plane.reads(path),  # type: ignore[misc]
            20,
            f"the API server to serve {api_version}",
        )


def _definition(api_version: str, kind: str) -> Object:
    group, _, version = api_version.partition("/")
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            # Groups of Kubernetes' own community want a reason to be served.
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
            "versions": [
                {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            ],
        },
    }
