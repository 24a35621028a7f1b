"""A real Prometheus that finds pods through the API server, as one in the cluster would."""

from __future__ import annotations

import json
import socket
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import yaml

from tests.cluster import binaries
from tests.cluster.daemon import Daemon
from tests.cluster.waiting import wait_until


@dataclass(frozen=True)
class Series:
    """One time series: its labels, and its samples as (Unix time, value)."""

    labels: dict[str, str]
    samples: tuple[tuple[float, float], ...]


class Prometheus:
    """Prometheus with its data in `directory`, configured by what `configuration` says as prometheus.yml."""

    def __init__(self, directory: Path, configuration: Mapping[str, object]) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        config = directory / "prometheus.yml"
        config.write_text(yaml.safe_dump(dict(configuration)))
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

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_samples(self, selector: str, count: int, timeout: float) -> None:
        """Wait until a selector's series have so many samples of the last two minutes."""

        def there() -> bool:
            return any(len(series.samples) >= count for series in self.range(selector, 120))

        wait_until(there, timeout, f"{count} samples of {selector}", interval=0.3)

    def shows(self, expr: str, start: float, end: float) -> bool:
        """Whether an expression has a value at some second between two Unix times.

        Raises:
            urllib.error.HTTPError: Prometheus does not understand it.
        """
        span = {"query": expr, "start": str(start), "end": str(end), "step": "1"}
        url = f"{self.url}/api/v1/query_range?" + urllib.parse.urlencode(span)
        with urllib.request.urlopen(url, timeout=30) as response:
            return bool(json.load(response)["data"]["result"])

    def range(self, query: str, seconds: int) -> list[Series]:
        """Every raw sample of the last `seconds` of the series that `query`, a plain selector, names."""
        url = f"{self.url}/api/v1/query?" + urllib.parse.urlencode({"query": f"{query}[{seconds}s]"})
        with urllib.request.urlopen(url, timeout=10) as response:
            answer = json.load(response)
        return [
            Series(found["metric"], tuple((float(at), float(value)) for at, value in found["values"]))
            for found in answer["data"]["result"]
        ]

    def _ready(self) -> bool:
        self._daemon.check()
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1) as response:
                return bool(response.status == 200)
        except OSError:
            return False
