"""What the Prometheus operator makes of a PodMonitor, for a Prometheus that runs without it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_KNOWN = {"selector", "namespaceSelector", "podMetricsEndpoints", "sampleLimit"}
_KNOWN_OF_ENDPOINT = {"port", "interval", "scrapeTimeout", "relabelings"}
_RELABELING = {"sourceLabels": "source_labels", "targetLabel": "target_label", "regex": "regex"}


def scrape_config(
    monitors: Iterable[Mapping[str, Any]], kubeconfig: Path, interval: float, *rules: Path
) -> dict[str, object]:
    """Prometheus' configuration with one job for each endpoint of each monitor.

    Args:
        monitors: PodMonitors as manifests.
        kubeconfig: what Prometheus discovers pods with.
        interval: seconds between two scrapes, in place of the monitors' own, and of rules' evaluations.
        rules: files with groups of rules.

    Raises:
        ValueError: a monitor has a field that is not translated here.
        KeyError: so has a relabeling.
    """
    every = f"{interval:g}s"
    return {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [str(file) for file in rules],
        "scrape_configs": [
            _job(monitor, endpoint, number, kubeconfig)
            for monitor in monitors
            for number, endpoint in enumerate(monitor["spec"]["podMetricsEndpoints"])
        ],
    }


def _job(
    monitor: Mapping[str, Any], endpoint: Mapping[str, Any], number: int, kubeconfig: Path
) -> dict[str, object]:
    spec, metadata = monitor["spec"], monitor["metadata"]
    unknown = (set(spec) - _KNOWN) | (set(endpoint) - _KNOWN_OF_ENDPOINT)
    if unknown:
        raise ValueError(f"PodMonitor {metadata['name']}: {sorted(unknown)} is not translated")
    relabelings = endpoint.get("relabelings", ())
    name = f"podMonitor/{metadata['namespace']}/{metadata['name']}/{number}"
    discovery: dict[str, object] = {"role": "pod", "kubeconfig_file": str(kubeconfig)}
    namespaces = spec.get("namespaceSelector", {"matchNames": [metadata["namespace"]]})
    if not namespaces.get("any"):
        discovery["namespaces"] = {"names": namespaces["matchNames"]}
    keeps = [
        {
            "action": "keep",
            "source_labels": [f"__meta_kubernetes_pod_label_{_identifier(label)}"],
            "regex": value,
        }
        for label, value in spec["selector"]["matchLabels"].items()
    ]
    return {
        "job_name": name,
        "sample_limit": spec.get("sampleLimit", 0),
        "kubernetes_sd_configs": [discovery],
        "relabel_configs": [
            # As filterRunning, which is on where a monitor does not say otherwise.
            {
                "action": "drop",
                "source_labels": ["__meta_kubernetes_pod_phase"],
                "regex": "(Failed|Succeeded)",
            },
            *keeps,
            {
                "action": "keep",
                "source_labels": ["__meta_kubernetes_pod_container_port_name"],
                "regex": endpoint["port"],
            },
            *(
                {"source_labels": [f"__meta_kubernetes_{source}"], "target_label": label}
                for source, label in (
                    *(("namespace", "namespace"), ("pod_container_name", "container")),
                    *(("pod_name", "pod"), ("pod_node_name", "node")),
                )
            ),
            {"target_label": "job", "replacement": f"{metadata['namespace']}/{metadata['name']}"},
            *({_RELABELING[key]: value for key, value in given.items()} for given in relabelings),
        ],
    }


def _identifier(label: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in label)
