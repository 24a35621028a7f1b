"""A real Prometheus that finds training pods through the API server, as one in the cluster would."""

from __future__ import annotations

import json
import socket
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import yaml

from tests.cluster import binaries
from tests.cluster.daemon import Daemon
from tests.cluster.waiting import wait_until

SCRAPE_INTERVAL = 1.0
"""Seconds; short, so that most writes of a fast little job are seen."""


@dataclass(frozen=True)
class Series:
    """One time series: its labels, and its samples as (Unix time, value)."""

    labels: dict[str, str]
    samples: tuple[tuple[float, float], ...]


class Prometheus:
    """Prometheus with its data in `directory`, scraping what `kubeconfig` lets it discover.

    Training pods are kept by the operator's label and the port's name; the operator by its own label.
    """

    def __init__(self, directory: Path, kubeconfig: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        config = directory / "prometheus.yml"
        config.write_text(yaml.safe_dump(scrape_config(kubeconfig)))
        self._daemon = Daemon(
            "prometheus",
            (
                str(binaries.program("prometheus")),
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ),
            directory,
        )

    def __enter__(self) -> Prometheus:
        self._daemon.start()
        try:
            wait_until(self._ready, 30, "Prometheus to be ready", interval=0.1)
        except BaseException:
            self._daemon.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._daemon.kill()

    def range(self, query: str, seconds: int) -> list[Series]:
        """Every raw sample of the last `seconds` of the series that `query`, a plain selector, names."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?" + urllib.parse.urlencode(
            {"query": f"{query}[{seconds}s]"}
        )
        with urllib.request.urlopen(url, timeout=10) as response:
            answer = json.load(response)
        return [
            Series(found["metric"], tuple((float(at), float(value)) for at, value in found["values"]))
            for found in answer["data"]["result"]
        ]

    def _ready(self) -> bool:
        self._daemon.check()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=1) as response:
                return bool(response.status == 200)
        except OSError:
            return False


def scrape_config(kubeconfig: Path) -> dict[str, object]:
    """Two jobs: training pods and the operator, found as pods through the API server."""

    def job(name: str, managed_by: str, label: str) -> dict[str, object]:
        return {
            "job_name": name,
            "kubernetes_sd_configs": [{"role": "pod", "kubeconfig_file": str(kubeconfig)}],
            "relabel_configs": [
                {
                    "action": "keep",
                    "source_labels": [f"__meta_kubernetes_pod_label_{label}"],
                    "regex": managed_by,
                },
                {
                    "action": "keep",
                    "source_labels": ["__meta_kubernetes_pod_container_port_name"],
                    "regex": "metrics",
                },
                {
                    "action": "drop",
                    "source_labels": ["__meta_kubernetes_pod_phase"],
                    "regex": "Succeeded|Failed",
                },
                {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
                {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
                {
                    "source_labels": ["__meta_kubernetes_pod_label_detectron_dev_job"],
                    "target_label": "training_job",
                },
            ],
        }

    return {
        "global": {"scrape_interval": f"{SCRAPE_INTERVAL:g}s", "scrape_timeout": f"{SCRAPE_INTERVAL:g}s"},
        "scrape_configs": [
            job("detectron-training", "detectron-operator", "app_kubernetes_io_managed_by"),
            job("detectron-operator", "detectron-operator", "app_kubernetes_io_name"),
        ],
    }
