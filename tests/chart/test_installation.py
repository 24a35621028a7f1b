"""`helm test`: what it brings along, and that it tells a working operator from none."""

from __future__ import annotations

import pytest

from tests.chart.helm import NAMESPACE, Values, hooks, only, template
from tests.unit.pod_security import violations


@pytest.mark.parametrize(
    ("values", "namespace"),
    [
        ({}, NAMESPACE),
        ({"scope": "Namespaced"}, NAMESPACE),
        ({"scope": "Namespaced", "watchNamespaces": ["vision", "robots"]}, "vision"),
    ],
)
def test_the_job_is_tried_where_the_operator_serves_jobs(values: Values, namespace: str) -> None:
    manifests = hooks(values)
    (container,) = only(manifests, "Pod")["spec"]["containers"]
    assert container["env"] == [{"name": "DETECTRON_TEST_NAMESPACE", "value": namespace}]
    role, binding = only(manifests, "Role"), only(manifests, "RoleBinding")
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == namespace
    account = only(manifests, "ServiceAccount")["metadata"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
    ]
    assert only(manifests, "Pod")["spec"]["serviceAccountName"] == account["name"]


def test_its_pod_is_restricted_and_runs_the_operator_s_image() -> None:
    pod = only(hooks(), "Pod")["spec"]
    assert list(violations(pod)) == []
    operator = only(template(), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert pod["containers"][0]["image"] == operator["image"]


def test_nothing_of_it_stays() -> None:
    for manifest in hooks():
        policy = manifest["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
        assert policy == "before-hook-creation,hook-succeeded"
