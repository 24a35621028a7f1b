"""What the chart renders, judged by the real API server: more than a schema can tell."""

from __future__ import annotations

import pytest

from tests.apiserver.space import Space
from tests.chart.helm import NAMESPACE, Values, template, told
from tests.chart.variants import VARIANTS
from tests.cluster.controlplane import ControlPlane
from tests.cluster.kubectl import KubectlError

FOREIGN = {"PodMonitor", "PrometheusRule"}
"""Kinds of the Prometheus operator, which this API server does not know."""
NAMESPACES = {NAMESPACE, "vision", "robots", "grafana"}


@pytest.fixture(scope="module", autouse=True)
def namespaces(plane: ControlPlane) -> None:
    plane.kubectl.apply(
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in NAMESPACES)
    )


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_the_api_server_takes_every_manifest(plane: ControlPlane, values: Values) -> None:
    ours = [manifest for manifest in template(values) if manifest["kind"] not in FOREIGN]
    plane.kubectl.would_apply(*ours)


def test_the_api_server_takes_the_example_for_artifact_hub(space: Space) -> None:
    space.kubectl.would_apply(*told("crdsExamples"))


def test_it_refuses_what_is_wrong(space: Space) -> None:
    metadata = {"name": "wrong"}
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata}
    spec: dict[str, object] = {"podSelector": {}, "ingress": [{"from": [{}]}]}
    with pytest.raises(KubectlError, match="must specify a peer"):
        space.kubectl.would_apply(policy | {"spec": spec})
