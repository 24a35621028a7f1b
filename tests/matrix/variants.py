"""The variants in which the chart is installed; together they flip every switch of its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

USERS = "matrix"
"""The namespace in which jobs run."""
TLS_SECRET = "metrics-tls"
"""The certificate of the pods' metrics there."""

UNTRIED = {
    "global": "Helm's own, for subcharts; the chart has none and reads nothing of it",
    "image.repository": "set in every variant, to the image of this checkout",
    "image.tag": "set in every variant",
    "trainer.image.repository": "set in every variant",
    "trainer.image.tag": "set in every variant",
    "image.pullPolicy=Always": "the nodes are handed their images; there is no registry to pull them from",
}
"""What no variant tries, and why."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to install the chart.

    Attributes:
        name: for the command line, and of its job.
        about: in words.
        values: beside those that name the images.
        namespace: of the release.
        crd: whether an administrator applies the CRD beforehand.
        account: a service account that an administrator makes beforehand.
        job: further fields of the spec of the job that has to succeed.
    """

    name: str
    about: str
    values: Mapping[str, Any] = field(default_factory=dict)
    namespace: str = "matrix-system"
    crd: bool = False
    account: str | None = None
    job: Mapping[str, Any] = field(default_factory=dict)


def variants(operator_digest: str, trainer_digest: str) -> tuple[Variant, ...]:
    """Every variant; the digests are those of the images on the nodes."""
    return (
        Variant(name="defaults", about="as the chart comes"),
        Variant(
            name="everything-off",
            about="nothing that is on by default and nothing cluster-wide, in the namespace of the jobs",
            values=_OFF,
            namespace=USERS,
            crd=True,
            account="robot",
        ),
        Variant(
            name="one-namespace",
            about="for one namespace, from another",
            values=_ONE_NAMESPACE,
        ),
        Variant(
            name="everything-on",
            about="all that is off by default; the job is checked beforehand and serves metrics over TLS",
            values={
                **_ON,
                "image": {"digest": operator_digest, "pullPolicy": "Never"},
                "trainer": {"image": {"digest": trainer_digest}},
            },
            job={
                "preflight": {
                    "enabled": True,
                    "resources": {
                        "requests": {"cpu": "250m", "memory": "1Gi"},
                        "limits": {"memory": "3Gi"},
                    },
                },
                "metrics": {"tls": {"secretName": TLS_SECRET}},
                "serviceAccountName": "default",
            },
        ),
    )


_OFF: Mapping[str, Any] = {
    "scope": "Namespaced",
    "crds": {"enabled": False},
    "admission": {"enabled": False},
    "userRoles": {"create": False},
    "replicas": 1,
    "leaderElection": {"enabled": False},
    "podDisruptionBudget": {"enabled": False},
    "serviceAccount": {"create": False, "name": "robot"},
    "settings": {"logFormat": "plain"},
    "topologySpreadConstraints": [],
}

_MONITORING = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}

_ONE_NAMESPACE: Mapping[str, Any] = {
    "scope": "Namespaced",
    "watchNamespaces": [USERS],
    "leaderElection": {"leaseDurationSeconds": 5},
    "networkPolicy": {"enabled": True},
    "admission": {"limits": {"maxNodes": 2}},
}

_ON: Mapping[str, Any] = {
    "nameOverride": "training",
    "fullnameOverride": "dto",
    "imagePullSecrets": ["registry"],
    "replicas": 3,
    "crds": {"keep": False},
    "admission": {
        "limits": {
            "maxNodes": 4,
            "maxGPUs": 16,
            "imagePrefixes": ["localhost/"],
            "serviceAccounts": ["default"],
        }
    },
    "monitoring": {
        "annotations": {"enabled": True},
        "podMonitors": {
            "enabled": True,
            "labels": {"release": "prometheus"},
            "interval": "30s",
            "scrapeTimeout": "5s",
            "sampleLimit": 2000,
            "trainingTLS": {"serverName": "metrics.example"},
        },
        "rules": {
            "enabled": True,
            "labels": {"release": "prometheus"},
            "runbookBaseURL": "https://wiki.example/runbooks",
        },
        "dashboards": {
            "enabled": True,
            "namespace": USERS,
            "labels": {"boards": "yes"},
            "annotations": {"grafana_folder": "Vision"},
        },
    },
    "networkPolicy": {
        "enabled": True,
        "metricsFrom": [_MONITORING],
        "trainingNamespaces": [USERS],
        "apiServer": {"cidrs": ["10.96.0.1/32"], "ports": [443]},
    },
    "settings": {
        "workers": 8,
        "clientQPS": 50,
        "clientBurst": 100,
        "resyncPeriodSeconds": 60,
        "pollPeriodSeconds": 1,
        "progressPeriodSeconds": 2,
    },
    "serviceAccount": {"annotations": {"team": "vision"}},
    "resources": {
        "requests": {"cpu": "50m", "memory": "96Mi"},
        "limits": {"cpu": "1", "memory": "384Mi"},
    },
    "podAnnotations": {"team": "vision"},
    "podLabels": {"team": "vision"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "operators", "operator": "Exists"}],
    "lostNodeSeconds": 30,
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "detectron.dev/test-node", "operator": "Exists"}]}
                ]
            }
        }
    },
    "priorityClassName": "matrix-operators",
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}
    ],
    "extraObjects": [
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "{{ .Values.priorityClassName }}"},
            "value": 1000,
        },
        # A pull secret for nobody: what the nodes have they need not pull.
        "apiVersion: v1\nkind: Secret\nmetadata: {name: registry, namespace: {{ .Release.Namespace }}}\n"
        "type: kubernetes.io/dockerconfigjson\n"
        'stringData: {.dockerconfigjson: {{ dict "auths" dict | toJson | quote }}}\n',
    ],
}
