"""What the chart tells Prometheus."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from detectron_operator import labels
from tests.chart.helm import CHART, Manifest, Values, of_kind, only, template
from tests.cluster import boards, packages

MONITORED: Values = {"monitoring": {"podMonitors": {"enabled": True, "labels": {"release": "prometheus"}}}}


def monitors(values: Values) -> tuple[Manifest, Manifest]:
    """Those of the operator and of training pods."""
    operator, training = of_kind(template(values), "PodMonitor")
    return operator, training


def endpoint(monitor: Manifest) -> Any:
    (only_one,) = monitor["spec"]["podMetricsEndpoints"]
    return only_one


def test_no_monitors_unless_asked_for() -> None:
    assert of_kind(template(), "PodMonitor") == []


def test_a_monitor_has_the_labels_by_which_a_prometheus_selects_it() -> None:
    assert all(monitor["metadata"]["labels"]["release"] == "prometheus" for monitor in monitors(MONITORED))


def test_the_operator_is_found_by_its_deployment_s_labels_and_port() -> None:
    operator, _ = monitors(MONITORED)
    pod = only(template(MONITORED), "Deployment")["spec"]["template"]
    assert operator["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert endpoint(operator)["port"] in [port["name"] for port in pod["spec"]["containers"][0]["ports"]]


@pytest.mark.parametrize(
    ("values", "namespaces"),
    [
        ({}, {"any": True}),
        ({"scope": "Namespaced", "watchNamespaces": ["a", "b"]}, {"matchNames": ["a", "b"]}),
    ],
)
def test_training_pods_are_found_where_jobs_are_served(values: Values, namespaces: Manifest) -> None:
    _, training = monitors(MONITORED | values)
    assert training["spec"]["namespaceSelector"] == namespaces
    assert training["spec"]["selector"]["matchLabels"] == {labels.MANAGED_BY: labels.OPERATOR}
    sources = {
        label for relabeling in endpoint(training)["relabelings"] for label in relabeling["sourceLabels"]
    }
    assert sources == {
        "__meta_kubernetes_pod_label_" + re.sub(r"\W", "_", label)
        for label in (labels.JOB, labels.ATTEMPT, labels.METRICS_SCHEME)
    }


ANNOTATED: Values = {"monitoring": {"annotations": {"enabled": True}}}


def _annotations(values: Values) -> Any:
    return only(template(values), "Deployment")["spec"]["template"]["metadata"].get("annotations")


def test_no_annotations_unless_asked_for() -> None:
    assert _annotations({}) is None


def test_annotations_tell_where_operators_serve_metrics() -> None:
    pod = only(template(ANNOTATED), "Deployment")["spec"]["template"]["spec"]
    ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
    assert _annotations(ANNOTATED) == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(ports["metrics"]),
        "prometheus.io/path": "/metrics",
        "prometheus.io/scheme": "http",
    }


def test_annotations_of_one_s_own_come_first() -> None:
    found = _annotations(ANNOTATED | {"podAnnotations": {"prometheus.io/scrape": "false", "a": "b"}})
    assert (found["prometheus.io/scrape"], found["a"], found["prometheus.io/port"]) == ("false", "b", "8081")


def test_boards_are_config_maps_that_a_sidecar_finds() -> None:
    values = {"monitoring": {"dashboards": {"enabled": True, "namespace": "grafana"}}}
    shipped = of_kind(template(values), "ConfigMap")
    assert all(shipped_one["metadata"]["labels"]["grafana_dashboard"] == "1" for shipped_one in shipped)
    assert {shipped_one["metadata"]["namespace"] for shipped_one in shipped} == {"grafana"}
    texts = {name: text for shipped_one in shipped for name, text in shipped_one["data"].items()}
    files = {path.name: path.read_text() for path in (CHART / "files" / "dashboards").iterdir()}
    assert {name: json.loads(text) for name, text in texts.items()} == {
        name: json.loads(text) for name, text in files.items()
    }
    assert all(len(shipped_one["metadata"]["name"]) <= 63 for shipped_one in shipped)


def test_prometheus_understands_every_query_of_every_board(tmp_path: Path) -> None:
    variables = {"namespace": "vision", "training_job": "cats", "loss": "loss_mask"}
    spans = dict.fromkeys(("__rate_interval", "__range", "__interval"), "5m")
    rules = [{"record": "panel", "expr": query.expr} for query in boards.queries(variables | spans)]
    assert len(rules) > 40
    file = tmp_path / "panels.yaml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(
        [str(packages.promtool()), "check", "rules", "--lint=none", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
