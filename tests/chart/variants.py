"""Values that the chart is rendered with."""

from __future__ import annotations

from tests.chart.helm import Values

DIGEST = f"sha256:{'0a' * 32}"

MONITORING = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
"""Pods of the namespace monitoring, as a peer of a NetworkPolicy."""

VARIANTS: dict[str, Values] = {
    "defaults": {},
    "namespaced": {"scope": "Namespaced"},
    "two namespaces": {"scope": "Namespaced", "watchNamespaces": ["vision", "robots"]},
    "digests": {
        "image": {"repository": "registry.example:5000/operator", "digest": DIGEST, "pullPolicy": "Always"},
        "trainer": {"image": {"repository": "registry.example/trainer", "digest": DIGEST}},
        "imagePullSecrets": ["pull"],
    },
    "foreign account": {"serviceAccount": {"create": False, "name": "robot"}},
    "named": {"fullnameOverride": "dto", "nameOverride": "short"},
    "alone": {"replicas": 1, "leaderElection": {"enabled": False}},
    "three": {"replicas": 3, "podDisruptionBudget": {"enabled": False}},
    "no crd": {"crds": {"enabled": False}},
    "limits": {
        "admission": {
            "limits": {
                "maxNodes": 4,
                "maxGPUs": 32,
                "imagePrefixes": ["registry.example/"],
                "serviceAccounts": ["default", "robot"],
            }
        }
    },
    "nothing cluster-wide": {
        "scope": "Namespaced",
        "crds": {"enabled": False},
        "admission": {"enabled": False},
        "userRoles": {"create": False},
    },
    "monitoring": {
        "monitoring": {
            "annotations": {"enabled": True},
            "podMonitors": {"enabled": True, "labels": {"release": "prometheus"}},
            "rules": {"enabled": True, "runbookBaseURL": "https://wiki.example/runbooks"},
            "dashboards": {
                "enabled": True,
                "namespace": "grafana",
                "annotations": {"grafana_folder": "Vision"},
            },
        }
    },
    "scheduling": {
        "podAnnotations": {"a": "b"},
        "podLabels": {"team": "vision"},
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "lostNodeSeconds": 30,
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "system-cluster-critical",
        "resources": {"limits": {"memory": "1Gi"}},
        "serviceAccount": {"annotations": {"role": "x"}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
        ],
    },
    "network policies": {
        "networkPolicy": {
            "enabled": True,
            "metricsFrom": [MONITORING, {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.1/32"]}}],
            "trainingNamespaces": ["vision", "robots"],
            "apiServer": {"cidrs": ["10.96.0.1/32"], "ports": [443]},
        }
    },
    "network policies of two namespaces": {
        "scope": "Namespaced",
        "watchNamespaces": ["vision", "robots"],
        "networkPolicy": {"enabled": True},
    },
    "extra objects": {
        "extraObjects": [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "{{ .Release.Name }}-object"},
                "data": {"replicas": "{{ .Values.replicas }}"},
            },
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n"
            "  name: {{ .Release.Name }}-text\n  namespace: {{ .Release.Namespace }}\n",
        ]
    },
}
"""By what they are about."""
