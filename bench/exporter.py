"""What Prometheus metrics and progress cost a training process, as a share of a 200 ms iteration.

    python -m bench.exporter

takes the CPU time of what an exporter adds to training: the writer's `write` in the loop, a server that
nobody asks, and the answers that another process asks for as Prometheus and the operator do, plain and TLS.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.utils.events import EventStorage

from bench.report import machine
from detectron_trainer.metrics.prometheus_writer import PrometheusWriter
from detectron_trainer.metrics.server import MetricsServer
from detectron_trainer.metrics.tls import Certificate
from detectron_trainer.progress.board import ProgressBoard
from detectron_trainer.progress.document import Progress
from detectron_trainer.progress.parts import Phase
from tests.cluster.pki import Authority

ITERATION = 0.2
WRITE_PERIOD = 20
"""Iterations; the default of `spec.metrics.period`."""
SCRAPE_SECONDS, POLL_SECONDS = 15, 2
"""The defaults of the chart's PodMonitor and of the operator."""
WRITES, REQUESTS, IDLE_SECONDS = 200, 100, 3.0
LOSSES = ("loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc", "total_loss")
OTHERS = ("time", "data_time", "lr", "eta_seconds", "roi_head/num_fg_samples", "rpn/num_pos_anchors")
CLIENT = """
import ssl, sys, urllib.request
context = ssl._create_unverified_context()
for _ in range(int(sys.argv[2])):
    urllib.request.urlopen(sys.argv[1], context=context).read()
"""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Milliseconds of CPU time: of each once, and of a second of waiting."""

    write: float
    idle: float
    scrape: float
    poll: float
    scrape_tls: float
    poll_tls: float

    def share(self, *, tls: bool) -> float:
        """Per cent of an iteration, with each as often as by default."""
        scrape, poll = (self.scrape_tls, self.poll_tls) if tls else (self.scrape, self.poll)
        served = self.idle + scrape / SCRAPE_SECONDS + poll / POLL_SECONDS
        each = self.write / WRITE_PERIOD + ITERATION * served
        return each / (ITERATION * 1000) * 100


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    rounds = [measure() for _ in range(parser.parse_args(arguments).rounds)]
    print(table(rounds))
    print(json.dumps({"machine": machine(), "rounds": [asdict(one) for one in rounds]}, indent=2))


def measure() -> Cost:
    """One round."""
    now = datetime.now(UTC)
    board = ProgressBoard(
        Progress(phase=Phase.TRAINING, attempt=0, world_size=1, iteration=7, last_updated_time=now),
        clock=lambda: now,
    )
    with tempfile.TemporaryDirectory() as name, closing(PrometheusWriter(max_iter=90_000)) as writer:
        write = time_writes(writer)
        Authority(Path(name), now).issue("metrics").write(Path(name) / "tls")
        plain = MetricsServer(writer.registry, board, 0, "127.0.0.1")
        encrypted = MetricsServer(writer.registry, board, 0, "127.0.0.1", certificate=Certificate(Path(name)))
        with closing(plain):
            plain.start()
            idle = time_idling()
            scrape = time_answers(f"http://127.0.0.1:{plain.port}/metrics", idle)
            poll = time_answers(f"http://127.0.0.1:{plain.port}/progress", idle)
        with closing(encrypted):
            encrypted.start()
            scrape_tls = time_answers(f"https://127.0.0.1:{encrypted.port}/metrics", idle)
            poll_tls = time_answers(f"https://127.0.0.1:{encrypted.port}/progress", idle)
    return Cost(write=write, idle=idle, scrape=scrape, poll=poll, scrape_tls=scrape_tls, poll_tls=poll_tls)


def time_writes(writer: PrometheusWriter) -> float:
    """Milliseconds of one write after the iterations of a period, with the scalars of a Mask R-CNN."""
    spent = 0.0
    with EventStorage(0) as storage:
        for iteration in range(WRITES * WRITE_PERIOD):
            storage.iter = iteration
            for name in (*LOSSES, *OTHERS):
                storage.put_scalar(name, 1.0 / (iteration + 1))
            if (iteration + 1) % WRITE_PERIOD == 0:
                began = time.thread_time()
                writer.write()
                spent += time.thread_time() - began
    return spent / WRITES * 1000


def time_idling() -> float:
    """Milliseconds a second of this process while its server waits."""
    began = time.process_time()
    time.sleep(IDLE_SECONDS)
    return (time.process_time() - began) / IDLE_SECONDS * 1000


def time_answers(url: str, idle: float) -> float:
    """Milliseconds of this process for one answer, beside those of waiting."""
    began, started = time.process_time(), time.monotonic()
    subprocess.run([sys.executable, "-c", CLIENT, url, str(REQUESTS)], check=True)
    waited = (time.monotonic() - started) * idle
    return ((time.process_time() - began) * 1000 - waited) / REQUESTS


def table(rounds: Sequence[Cost]) -> str:
    """One row a number: the median of the rounds, and their spread."""
    rows: list[tuple[str, Callable[[Cost], float]]] = [
        (f"a write, every {WRITE_PERIOD} iterations", lambda one: one.write),
        ("a second of waiting", lambda one: one.idle),
        (f"an answer to Prometheus, every {SCRAPE_SECONDS} s", lambda one: one.scrape),
        (f"an answer to the operator, every {POLL_SECONDS} s", lambda one: one.poll),
        ("an answer to Prometheus over TLS", lambda one: one.scrape_tls),
        ("an answer to the operator over TLS", lambda one: one.poll_tls),
    ]
    lines = ["| CPU time | median | least | most |", "|---|---|---|---|"]
    for what, value in rows:
        values = [value(one) for one in rounds]
        lines.append(f"| {what} | {_spread(values, 'ms')} |")
    for what, tls in (("plain", False), ("over TLS", True)):
        shares = [one.share(tls=tls) for one in rounds]
        lines.append(f"| all, of a {ITERATION * 1000:.0f} ms iteration, {what} | {_spread(shares, '%')} |")
    return "\n".join(lines)


def _spread(values: Sequence[float], unit: str) -> str:
    return " | ".join(
        f"{value:.3f} {unit}" for value in (statistics.median(values), min(values), max(values))
    )


if __name__ == "__main__":
    main()
