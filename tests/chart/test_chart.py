"""The chart: what it installs, with which rights, and which values it refuses."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from detectron_operator.labels import METRICS_SCHEME
from detectron_operator.settings import Settings, parse
from tests.chart.helm import (
    CHART,
    NAMESPACE,
    RELEASE,
    ROOT,
    HelmError,
    Manifest,
    Values,
    helm,
    of_kind,
    only,
    template,
)
from tests.chart.variants import DIGEST, VARIANTS
from tests.unit.pod_security import violations

CRD = yaml.safe_load((ROOT / "crds" / "detectrontrainingjobs.yaml").read_text())

RULES = [
    (["detectron.dev"], ["detectrontrainingjobs"], ["get", "list", "watch", "delete"]),
    (["detectron.dev"], ["detectrontrainingjobs/status"], ["patch"]),
    ([""], ["pods"], ["get", "list", "watch", "create", "delete"]),
    ([""], ["services", "configmaps", "persistentvolumeclaims"], ["get", "create"]),
    (["scheduling.volcano.sh", "scheduling.x-k8s.io"], ["podgroups"], ["get", "create"]),
    ([""], ["events"], ["create", "list"]),
]
"""All that the operator may do, but for its own Lease."""

UNKNOWN_KINDS = {"CustomResourceDefinition", "PodMonitor", "PrometheusRule"}
"""Of which Kubernetes' own schema says nothing."""


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_every_manifest_is_valid(values: Values) -> None:
    manifests = template(values)
    for manifest in manifests:
        if manifest["kind"] not in UNKNOWN_KINDS:
            kubernetes_validate.validate(manifest, "1.34", strict=True)
    identities = [
        (manifest["kind"], manifest["metadata"].get("namespace"), manifest["metadata"]["name"])
        for manifest in manifests
    ]
    assert len(identities) == len(set(identities))


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_the_operator_s_own_pod_is_restricted(values: Values) -> None:
    pod = only(template(values), "Deployment")["spec"]["template"]["spec"]
    assert list(violations(pod)) == []
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["containers"][0]["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]


def test_prometheus_follows_jobs_that_serve_over_tls() -> None:
    tls = {"ca": {"configMap": {"name": "ca", "key": "ca.crt"}}, "serverName": "metrics.example"}
    values = {"monitoring": {"podMonitors": {"enabled": True, "trainingTLS": tls}}}
    (endpoint,) = next(
        monitor["spec"]["podMetricsEndpoints"]
        for monitor in template(values)
        if monitor["kind"] == "PodMonitor" and monitor["metadata"]["name"].endswith("-training")
    )
    assert endpoint["tlsConfig"] == tls
    label = "__meta_kubernetes_pod_label_" + re.sub(r"[^a-z]", "_", METRICS_SCHEME)
    rule = {"sourceLabels": [label], "regex": "(https)", "targetLabel": "__scheme__"}
    assert rule in endpoint["relabelings"]


def test_lint() -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART)


def test_two_operators_of_which_one_works() -> None:
    manifests = template()
    spec = only(manifests, "Deployment")["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    labels = spec["selector"]["matchLabels"]
    assert labels.items() <= spec["template"]["metadata"]["labels"].items()
    budget = only(manifests, "PodDisruptionBudget")["spec"]
    assert budget == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}


def _spreads(values: Values) -> Any:
    return only(template(values), "Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"]


def test_operators_go_to_different_nodes_where_they_can() -> None:
    labels = only(template(), "Deployment")["spec"]["selector"]["matchLabels"]
    assert _spreads({}) == [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "matchLabelKeys": ["pod-template-hash"],
            "labelSelector": {"matchLabels": labels},
        }
    ]
    assert "topologySpreadConstraints" not in str(template({"topologySpreadConstraints": []}))


@pytest.mark.parametrize("seconds", [10, 60])
def test_operators_leave_a_lost_node_soon_whatever_else_they_tolerate(seconds: int) -> None:
    system = {"key": "system", "operator": "Exists"}
    values = {"tolerations": [system], **({} if seconds == 10 else {"lostNodeSeconds": seconds})}
    lost = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
    keys = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    pod = only(template(values), "Deployment")["spec"]["template"]["spec"]
    assert pod["tolerations"] == [*({"key": key} | lost for key in keys), system]


def test_a_spread_of_one_s_own_keeps_its_selector() -> None:
    by_zone = {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 3}
    chosen = {"labelSelector": {"matchLabels": {"team": "vision"}}}
    own, theirs = _spreads({"topologySpreadConstraints": [by_zone, by_zone | chosen]})
    assert own == by_zone | {"labelSelector": _spreads({})[0]["labelSelector"]}
    assert theirs == by_zone | chosen


def test_extra_objects_are_templates_of_the_release() -> None:
    values = VARIANTS["extra objects"]
    found = {item["metadata"]["name"]: item for item in of_kind(template(values), "ConfigMap")}
    assert found[f"{RELEASE}-object"]["data"] == {"replicas": "2"}
    assert found[f"{RELEASE}-text"]["metadata"]["namespace"] == NAMESPACE


def test_without_a_lease_there_is_one_operator_at_a_time() -> None:
    manifests = template(VARIANTS["alone"])
    spec = only(manifests, "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert of_kind(manifests, "PodDisruptionBudget") == of_kind(manifests, "Role") == []
    assert _settings(VARIANTS["alone"]).lease == ""


def test_three_operators_without_a_budget() -> None:
    manifests = template(VARIANTS["three"])
    assert only(manifests, "Deployment")["spec"]["replicas"] == 3
    assert of_kind(manifests, "PodDisruptionBudget") == []


def test_the_lease_is_the_only_one_that_can_be_written() -> None:
    manifests = template()
    role, binding = only(manifests, "Role"), only(manifests, "RoleBinding")
    namespace, _, name = _settings({}).lease.partition("/")
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == namespace == NAMESPACE
    existing, new = role["rules"]
    assert (existing["resourceNames"], existing["verbs"], new["verbs"]) == (
        [name],
        ["get", "patch"],
        ["create"],
    )
    assert existing["resources"] == new["resources"] == ["leases"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    account = only(manifests, "ServiceAccount")["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]


def _settings(values: Values) -> Settings:
    """The operator's settings, read by the operator itself from the environment that the chart gives it."""
    container = only(template(values), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    return parse([], {item["name"]: item["value"] for item in container["env"]})


def test_the_default_settings_are_the_operator_s_own() -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    lease = f"{NAMESPACE}/{only(template(), 'Deployment')['metadata']['name']}"
    assert _settings({}) == Settings(trainer_image=f"detectron-trainer:{version}", lease=lease)


def test_every_setting_reaches_the_operator() -> None:
    chosen = {
        "logFormat": "plain",
        "workers": 1000000,
        "clientQPS": 2.5,
        "clientBurst": 2000000,
        "resyncPeriodSeconds": 60,
        "pollPeriodSeconds": 0.5,
        "progressPeriodSeconds": 1.5,
    }
    values: Values = {
        "settings": chosen,
        "monitoring": {"annotations": {"enabled": True}},
        "scope": "Namespaced",
        "watchNamespaces": ["vision", "robots"],
        "fullnameOverride": "dto",
        "leaderElection": {"leaseDurationSeconds": 30},
    }
    assert chosen.keys() == yaml.safe_load((CHART / "values.yaml").read_text())["settings"].keys()
    assert _settings(values | VARIANTS["digests"]) == Settings(
        trainer_image=f"registry.example/trainer@{DIGEST}",
        namespaces=("vision", "robots"),
        lease=f"{NAMESPACE}/dto",
        lease_duration=30.0,
        workers=1000000,
        resync_period=60.0,
        poll_period=0.5,
        progress_period=1.5,
        annotate_for_prometheus=True,
        client_qps=2.5,
        client_burst=2000000,
        log_format="plain",
    )


def test_ports_and_probes_are_the_operator_s() -> None:
    container = only(template(), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    settings = _settings({})
    assert ports == {"health": settings.health_port, "metrics": settings.metrics_port}
    paths = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    for probe, path in paths.items():
        assert container[probe]["httpGet"] == {"path": path, "port": "health"}


def test_images() -> None:
    container = only(template(VARIANTS["digests"]), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == f"registry.example:5000/operator@{DIGEST}"
    assert container["imagePullPolicy"] == "Always"


def _rules(role: Manifest) -> list[Any]:
    return [(rule["apiGroups"], rule["resources"], rule["verbs"]) for rule in role["rules"]]


NO_USER_ROLES: Values = {"userRoles": {"create": False}}


def test_rights_in_the_whole_cluster() -> None:
    manifests = template(NO_USER_ROLES)
    assert _rules(only(manifests, "ClusterRole")) == RULES
    binding = only(manifests, "ClusterRoleBinding")
    account = only(manifests, "ServiceAccount")["metadata"]
    assert binding["roleRef"]["name"] == only(manifests, "ClusterRole")["metadata"]["name"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["name"], "namespace": NAMESPACE}
    ]


@pytest.mark.parametrize(("watched", "namespaces"), [([], [NAMESPACE]), (["a", "b"], ["a", "b"])])
def test_rights_in_some_namespaces(watched: list[str], namespaces: list[str]) -> None:
    values: Values = {"scope": "Namespaced", "watchNamespaces": watched}
    manifests = template(VARIANTS["alone"] | NO_USER_ROLES | values)
    assert of_kind(manifests, "ClusterRole") == []
    assert of_kind(manifests, "ClusterRoleBinding") == []
    roles, bindings = of_kind(manifests, "Role"), of_kind(manifests, "RoleBinding")
    assert [role["metadata"]["namespace"] for role in roles] == namespaces
    assert [binding["metadata"]["namespace"] for binding in bindings] == namespaces
    assert all(_rules(role) == RULES for role in roles)
    assert all(binding["subjects"][0]["namespace"] == NAMESPACE for binding in bindings)
    assert _settings({"scope": "Namespaced", "watchNamespaces": watched}).namespaces == tuple(namespaces)


CLUSTER_WIDE = {
    *("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"),
    *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
}


def test_an_owner_of_one_namespace_can_install_it() -> None:
    kinds = {manifest["kind"] for manifest in template(VARIANTS["nothing cluster-wide"])}
    assert kinds.isdisjoint(CLUSTER_WIDE)
    assert {"Deployment", "Role", "RoleBinding"} <= kinds


def test_user_roles_add_to_the_ones_that_kubernetes_has() -> None:
    roles = {role["metadata"]["name"]: role for role in of_kind(template(), "ClusterRole")}
    aggregated = {
        name.rpartition("-")[2]: sorted(
            label.rpartition("-")[2] for label in role["metadata"]["labels"] if "aggregate-to" in label
        )
        for name, role in roles.items()
    }
    assert aggregated == {"operator": [], "view": ["admin", "edit", "view"], "edit": ["admin", "edit"]}
    assert _rules(roles[f"{RELEASE}-detectron-operator-view"])[0][2] == ["get", "list", "watch"]
    assert "create" in _rules(roles[f"{RELEASE}-detectron-operator-edit"])[0][2]


def test_the_crd_is_the_one_of_the_repository() -> None:
    assert only(template(), "CustomResourceDefinition")["spec"] == CRD["spec"]


def test_a_packaged_chart_holds_the_crd_itself(tmp_path: Path) -> None:
    helm("package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        member = archive.extractfile("detectron-operator/files/detectrontrainingjobs.yaml")
        assert member is not None
        assert yaml.safe_load(member.read()) == CRD
    assert only(template(chart=package), "CustomResourceDefinition")["spec"] == CRD["spec"]


@pytest.mark.parametrize("keep", [True, False])
def test_uninstalling_keeps_the_jobs_unless_told_otherwise(keep: bool) -> None:
    crd = only(template({"crds": {"keep": keep}}), "CustomResourceDefinition")
    assert (crd["metadata"].get("annotations") == {"helm.sh/resource-policy": "keep"}) is keep


def test_without_the_crd() -> None:
    assert of_kind(template({"crds": {"enabled": False}}), "CustomResourceDefinition") == []


SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"replicas": 0}, "replicas"),
        ({"replicas": 2, "leaderElection": {"enabled": False}}, "replicas"),
        ({"leaderElection": {"leaseDurationSeconds": 1}}, "leaseDurationSeconds"),
        ({"image": {"tagg": "1"}}, "tagg"),
        ({"image": {"digest": "sha256:12"}}, "digest"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"trainer": {"tag": "1"}}, "tag"),
        ({"crds": {"enable": True}}, "enable"),
        ({"scope": "Everywhere"}, "scope"),
        ({"watchNamespaces": ["a"]}, "watchNamespaces"),
        ({"scope": "Namespaced", "watchNamespaces": ["A"]}, "watchNamespaces"),
        ({"scope": "Namespaced", "watchNamespaces": ["a", "a"]}, "watchNamespaces"),
        ({"admission": {"limits": {"maxNodes": 0}}}, "maxNodes"),
        ({"admission": {"limits": {"maxGpus": 8}}}, "maxGpus"),
        ({"admission": {"limits": {"imagePrefixes": ["it's"]}}}, "imagePrefixes"),
        ({"admission": {"limits": {"serviceAccounts": ["it's"]}}}, "serviceAccounts"),
        ({"admission": {"limits": {"serviceAccounts": ["a", "a"]}}}, "serviceAccounts"),
        ({"admission": {"limits": {"serviceAccounts": "robot"}}}, "serviceAccounts"),
        ({"userRoles": {"enabled": True}}, "enabled"),
        ({"monitoring": {"podMonitors": {"interval": "15"}}}, "interval"),
        ({"settings": {"worker": 1}}, "worker"),
        ({"settings": {"workers": 0}}, "workers"),
        ({"settings": {"logFormat": "xml"}}, "logFormat"),
        ({"settings": {"pollPeriodSeconds": 0}}, "pollPeriodSeconds"),
        ({"serviceAccount": {"named": "x"}}, "named"),
        ({"resources": {"limit": {}}}, "limit"),
        ({"podLabels": {"a": 1}}, "podLabels"),
        ({"topologySpreadConstraints": [{"topologyKey": "zone"}]}, "maxSkew"),
        ({"topologySpreadConstraints": [SPREAD | {"maxSkews": 1}]}, "maxSkews"),
        ({"topologySpreadConstraints": [SPREAD | {"whenUnsatisfiable": "Never"}]}, "whenUnsatisfiable"),
        ({"extraObjects": [{"kind": "ConfigMap", "metadata": {"name": "x"}}]}, "apiVersion"),
        ({"extraObjects": {"apiVersion": "v1"}}, "extraObjects"),
        ({"extraObjects": ["kind: {{ .Values.absent.thing }}"]}, "absent"),
    ],
)
def test_values_that_are_refused(values: Values, words: str) -> None:
    with pytest.raises(HelmError, match=words):
        template(values)
