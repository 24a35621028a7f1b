"""The chart's NetworkPolicies: who may open a connection to whom."""

from __future__ import annotations

from typing import Any

import pytest

from detectron_operator import labels
from detectron_operator.manifests.torchrun import METRICS_PORT
from detectron_operator.settings import Settings
from tests.chart.helm import NAMESPACE, HelmError, Manifest, Values, of_kind, only, template
from tests.chart.variants import MONITORING, VARIANTS

ENABLED: Values = {"networkPolicy": {"enabled": True}}
TRAINING = {"podSelector": {"matchLabels": {labels.MANAGED_BY: labels.OPERATOR}}}
SETTINGS = Settings(trainer_image="")


def tcp(*ports: int) -> list[Manifest]:
    return [{"port": port, "protocol": "TCP"} for port in ports]


def policies(values: Values) -> tuple[Any, list[Any]]:
    """The operator's, and those of training pods."""
    operator, *training = of_kind(template(values), "NetworkPolicy")
    return operator, training


def operators() -> dict[str, Any]:
    """The Deployment's pods, as seen from their own namespace."""
    return {"podSelector": only(template(), "Deployment")["spec"]["selector"]}


def everywhere(peer: Manifest, namespace: str) -> Manifest:
    """The peer, as seen from any namespace."""
    return peer | {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}


def test_there_are_none_unless_asked_for() -> None:
    assert of_kind(template(), "NetworkPolicy") == []


def test_operators_are_asked_for_metrics_by_whom_they_are_told_of() -> None:
    policy, _ = policies(VARIANTS["network policies"])
    assert policy["metadata"]["namespace"] == NAMESPACE
    assert policy["spec"]["podSelector"] == operators()["podSelector"]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    peers = VARIANTS["network policies"]["networkPolicy"]["metricsFrom"]
    assert policy["spec"]["ingress"] == [{"from": peers, "ports": tcp(SETTINGS.metrics_port)}]


def test_without_a_word_of_prometheus_nobody_reads_metrics() -> None:
    operator, (training, *_) = policies(VARIANTS["network policies of two namespaces"])
    assert "ingress" not in operator["spec"]
    among_themselves, metrics = training["spec"]["ingress"]
    assert among_themselves == {"from": [TRAINING]}
    assert metrics["from"] == [everywhere(operators(), NAMESPACE)]


def test_operators_reach_dns_the_api_server_and_training_pods() -> None:
    dns, server, progress = policies(ENABLED)[0]["spec"]["egress"]
    assert dns == {"ports": [{"port": 53, "protocol": "UDP"}, *tcp(53)]}
    assert server == {"ports": tcp(443, 6443)}
    assert progress == {"ports": tcp(SETTINGS.progress_port), "to": [TRAINING | {"namespaceSelector": {}}]}


def test_the_api_server_s_addresses_can_be_named() -> None:
    _, server, _ = policies(VARIANTS["network policies"])[0]["spec"]["egress"]
    assert server == {"ports": tcp(443), "to": [{"ipBlock": {"cidr": "10.96.0.1/32"}}]}


def test_operators_of_some_namespaces_reach_training_pods_there_only() -> None:
    (peer,) = policies(VARIANTS["network policies of two namespaces"])[0]["spec"]["egress"][-1]["to"]
    served = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["vision", "robots"]}
    assert peer == TRAINING | {"namespaceSelector": {"matchExpressions": [served]}}


@pytest.mark.parametrize("variant", ["network policies", "network policies of two namespaces"])
def test_training_pods_are_reached_from_their_own_namespace(variant: str) -> None:
    _, training = policies(VARIANTS[variant])
    assert [policy["metadata"]["namespace"] for policy in training] == ["vision", "robots"]
    for policy in training:
        assert policy["spec"]["podSelector"] == TRAINING["podSelector"]
        assert policy["spec"]["policyTypes"] == ["Ingress"]
        among_themselves, metrics = policy["spec"]["ingress"]
        assert among_themselves == {"from": [TRAINING]}
        told = VARIANTS[variant]["networkPolicy"].get("metricsFrom", [])
        assert metrics == {"from": [everywhere(operators(), NAMESPACE), *told], "ports": tcp(METRICS_PORT)}


def test_the_whole_cluster_s_training_pods_have_none_unless_named() -> None:
    assert policies(ENABLED)[1] == []


@pytest.mark.parametrize("by", ["podMonitors", "annotations"])
def test_a_prometheus_that_is_told_of_pods_gets_through(by: str) -> None:
    monitored: Values = {"monitoring": {by: {"enabled": True}}}
    with pytest.raises(HelmError, match="metricsFrom"):
        template(ENABLED | monitored)
    template(monitored | {"networkPolicy": {"enabled": True, "metricsFrom": [MONITORING]}})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"enable": True}, "enable"),
        ({"metricsFrom": [{}]}, "metricsFrom"),
        ({"metricsFrom": [{"namespace": "monitoring"}]}, "namespace"),
        ({"metricsFrom": [{"namespaceSelector": {"labels": {}}}]}, "labels"),
        ({"metricsFrom": [MONITORING | {"ipBlock": {"cidr": "192.0.2.0/24"}}]}, "metricsFrom"),
        ({"apiServer": {"cidrs": ["kubernetes.default"]}}, "cidrs"),
        ({"apiServer": {"ports": []}}, "ports"),
        ({"trainingNamespaces": ["Vision"]}, "trainingNamespaces"),
    ],
)
def test_values_that_are_refused(values: Values, words: str) -> None:
    with pytest.raises(HelmError, match=words):
        template({"networkPolicy": values})


def test_namespaces_are_named_once() -> None:
    with pytest.raises(HelmError, match="trainingNamespaces"):
        template({"scope": "Namespaced", "networkPolicy": {"trainingNamespaces": ["vision"]}})
