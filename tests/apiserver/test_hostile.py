"""One job that does its worst: others are served as if it were not there, or at most a second later."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

from detectron_operator.kube.client import CONNECTIONS
from detectron_operator.kube.gate import SHARE
from tests.apiserver.api import Object
from tests.apiserver.conftest import StartOperator
from tests.apiserver.fake_trainer import FakeTrainer, progress
from tests.apiserver.faulty_proxy import FaultyProxy
from tests.apiserver.operator_process import Operator
from tests.apiserver.space import Space

LARGEST = 512
"""Most pods that a job may have."""
EVENTS, BURST = 10_000, 20
RATE = 2000
"""Events a second: more changes of one object than an etcd takes that writes to a disk."""
TRIES = 5
DELAY = 1.0


def latencies(space: Space, prefix: str) -> list[float]:
    """Seconds from submitting a job until its pod is there and its status says so, of some in a row."""
    found = []
    for number in range(TRIES):
        name = f"{prefix}-{number}"
        began = time.monotonic()
        space.submit(name, nodes=1)
        space.wait(lambda name=name: space.api.find("pods", f"{name}-0-0"), f"{name}'s pod")  # type: ignore[misc]
        space.await_status(name, phase="Pending")
        found.append(time.monotonic() - began)
    return found


def flood(pod: Object) -> Iterator[bytes]:
    """Bursts of changes of a pod that say nothing new."""
    version = int(pod["metadata"]["resourceVersion"])
    for burst in range(EVENTS // BURST):
        lines = []
        for number in range(burst * BURST, (burst + 1) * BURST):
            pod["metadata"] |= {"resourceVersion": str(version + number), "annotations": {"n": str(number)}}
            lines.append(json.dumps({"type": "MODIFIED", "object": pod}).encode() + b"\n")
        yield b"".join(lines)


def test_ten_thousand_events_of_one_pod(space: Space, proxy: FaultyProxy, proxied: Operator) -> None:
    space.submit("hostile", nodes=1)
    space.await_pods("hostile-0-0")
    space.kubelet.run("hostile-0-0")
    space.await_status("hostile", phase="Running")
    calm = latencies(space, "calm")
    sent = proxy.send("/pods", list(flood(space.api.get("pods", "hostile-0-0"))), BURST / RATE)
    stormy: list[float] = []
    while not sent.done():
        stormy += latencies(space, f"stormy-{len(stormy)}")
    sent.result()
    assert max(stormy) <= max(calm) + DELAY
    assert proxied.health() == (200, '{"ailments": []}')


def test_a_job_beside_a_gang_of_512_waits_for_a_share_of_it(space: Space, operator: Operator) -> None:
    space.submit("hostile", nodes=LARGEST)
    space.wait(space.pods, "its first pods")
    submitted = int(space.submit("small", nodes=1)["metadata"]["resourceVersion"])
    space.wait(lambda: len(space.api.list("pods")) == LARGEST + 1, "all pods", timeout=60)
    versions = {
        pod["metadata"]["name"]: int(pod["metadata"]["resourceVersion"]) for pod in space.api.list("pods")
    }
    small = versions.pop("small-0-0")
    assert small < max(versions.values())
    # One share, and those under way, for its Service and ConfigMap; as many again for its pod.
    assert sum(submitted < version < small for version in versions.values()) <= 2 * (SHARE + CONNECTIONS)


def test_a_progress_document_that_is_huge_deep_or_nonsense(
    space: Space, start_operator: StartOperator
) -> None:
    deep = b'{"metrics": ' + b"[" * 30_000 + b"]" * 30_000 + b"}"
    wide = json.dumps(progress(1, metrics=[{"name": f"m{n}", "value": n} for n in range(1500)])).encode()
    with FakeTrainer() as trainer:
        trainer.document = deep
        operator = start_operator(progress_port=trainer.port, poll_period=0.05)
        space.submit("hostile", nodes=1)
        space.await_pods("hostile-0-0")
        space.kubelet.run("hostile-0-0", ip="127.0.0.1")
        space.await_status("hostile", phase="Running")
        calm = latencies(space, "calm")
        for number, document in enumerate((deep, wide, b"0" * 2**20)):
            trainer.document = document
            trainer.await_look()
            assert max(latencies(space, f"under-{number}")) <= max(calm) + DELAY
        assert "iteration" not in space.status("hostile")
        trainer.document = progress(5)
        space.await_status("hostile", iteration=5)
        assert operator.process.poll() is None


def test_pods_that_lie_about_themselves(space: Space, proxied: Operator) -> None:
    """Nonsense in a pod's status, and a pod of somebody else's that looks like one of ours."""
    space.submit("hostile", nodes=1)
    space.await_pods("hostile-0-0")
    space.kubelet.run("hostile-0-0")
    space.await_status("hostile", phase="Running")
    mine = space.api.get("pods", "hostile-0-0")
    calm = latencies(space, "calm")
    like = {
        "metadata": {
            "name": "hostile-0-7",
            "labels": mine["metadata"]["labels"] | {"detectron.dev/node-index": "99999999"},
            "ownerReferences": mine["metadata"]["ownerReferences"],
        },
        "spec": {"containers": [{"name": "trainer", "image": "x"}]},
    }
    space.api.create("pods", like)
    waiting = {"reason": "x" * 5000, "message": "y" * 60_000}
    containers = [
        {
            "name": f"c{n}",
            "image": "",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {"waiting": waiting},
        }
        for n in range(10)
    ]
    lies = {"phase": "Unknown", "podIP": "127.0.0.3", "reason": "z" * 50_000, "containerStatuses": containers}
    space.api.merge("pods", "hostile-0-0", {"status": lies}, "status")
    assert max(latencies(space, "under")) <= max(calm) + DELAY
    assert len(space.status("hostile")["message"]) <= 1024
    assert proxied.health() == (200, '{"ailments": []}')


def largest(pid: int) -> int:
    """MiB of memory that a process has held at once so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def test_ten_thousand_warnings_of_a_pod_that_cannot_be_prepared(space: Space, operator: Operator) -> None:
    """Who may make jobs may mostly post events, too; those of a pod whose volume is missing are looked at."""
    space.submit("hostile", nodes=1)
    space.await_pods("hostile-0-0")
    space.kubelet.fail_to_mount("hostile-0-0", "no such ConfigMap")
    first = space.api.get("events", "hostile-0-0.mount")
    calm, before = latencies(space, "calm"), largest(operator.process.pid)

    def post(name: str, message: str = "x" * 2000, at: str = first["lastTimestamp"]) -> None:
        metadata = {"name": f"hostile-0-0.{name}"}
        space.api.create("events", first | {"metadata": metadata, "message": message, "lastTimestamp": at})

    with ThreadPoolExecutor(10) as posting:
        list(posting.map(post, (f"x{number:05}" for number in range(EVENTS))))
    post("now", "still none", datetime.now(UTC).isoformat())
    stormy: list[float] = []
    while "still none" not in space.status("hostile")["message"]:
        stormy += latencies(space, f"stormy-{len(stormy)}")
        assert len(stormy) < 20 * TRIES, space.status("hostile")["message"]
    assert max(stormy) <= max(calm) + DELAY
    assert largest(operator.process.pid) <= before + 32


class Mute(BaseRequestHandler):
    """Takes a question and says nothing until whoever asked has left."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            while self.request.recv(4096):
                pass


class Endless(BaseRequestHandler):
    """Says on and on until whoever asked has left."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                self.request.sendall(b" " * 2**16)


@contextlib.contextmanager
def serving(address: str, port: int, handler: type[BaseRequestHandler]) -> Iterator[None]:
    """A server in this process."""
    with ThreadingTCPServer((address, port), handler) as server:
        threading.Thread(target=server.serve_forever, name=handler.__name__).start()
        try:
            yield
        finally:
            server.shutdown()


def progress_latencies(space: Space, trainer: FakeTrainer, first: int) -> list[float]:
    """Seconds from a job's iteration until its status says so, of some in a row."""
    found = []
    for iteration in range(first, first + TRIES):
        began = time.monotonic()
        trainer.document = progress(iteration)
        space.await_status("good", iteration=iteration)
        found.append(time.monotonic() - began)
    return found


def test_progress_that_never_comes_and_progress_without_end(
    space: Space, start_operator: StartOperator
) -> None:
    with (
        FakeTrainer() as trainer,
        serving("127.2.0.1", trainer.port, Mute),
        serving("127.2.0.2", trainer.port, Endless),
    ):
        operator = start_operator(progress_port=trainer.port)
        space.submit("good", nodes=1)
        space.await_pods("good-0-0")
        space.kubelet.run("good-0-0", ip="127.0.0.1")
        space.await_status("good", phase="Running")
        calm, calm_progress = latencies(space, "calm"), progress_latencies(space, trainer, 1)
        for number in range(8):
            name = f"hostile-{number}"
            space.submit(name, nodes=1)
            space.wait(lambda name=name: space.api.find("pods", f"{name}-0-0"), f"{name}'s pod")  # type: ignore[misc]
            space.kubelet.run(f"{name}-0-0", ip=f"127.2.0.{1 + number % 2}")
            space.await_status(name, phase="Running")
        assert max(latencies(space, "stormy")) <= max(calm) + DELAY
        assert max(progress_latencies(space, trainer, 11)) <= max(calm_progress) + DELAY
        assert all("iteration" not in space.status(f"hostile-{number}") for number in range(8))
        assert operator.health() == (200, '{"ailments": []}')
