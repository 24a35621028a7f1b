"""The metrics server under clients that are slow, idle, many or no HTTP clients at all."""

import gzip
import json
import logging
import socket
import struct
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest
from prometheus_client import CollectorRegistry, Gauge

from detectron_trainer.metrics.server import MetricsServer
from detectron_trainer.progress.board import ProgressBoard
from detectron_trainer.progress.document import Progress
from detectron_trainer.progress.parts import Phase

NOW = datetime(2026, 10, 7, tzinfo=UTC)
SCHEMA = json.loads((Path(__file__).parents[2] / "crds/progress.schema.json").read_text())


def board() -> ProgressBoard:
    progress = Progress(phase=Phase.TRAINING, attempt=1, world_size=2, iteration=7, last_updated_time=NOW)
    return ProgressBoard(progress, clock=lambda: NOW)


@contextmanager
def serving(
    progress: ProgressBoard | None = None, *, max_connections: int = 32, request_seconds: float = 30
) -> Iterator[int]:
    registry = CollectorRegistry()
    Gauge("answer", "To everything.", registry=registry).set(42)
    server = MetricsServer(
        registry, progress, 0, "127.0.0.1", max_connections=max_connections, request_seconds=request_seconds
    )
    server.start()
    assert server.port is not None
    try:
        yield server.port
    finally:
        server.close()


def get(port: int, path: str, **headers: str) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        body = answer.read()
    assert isinstance(body, bytes)
    return body


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def test_metrics_in_the_format_that_is_asked_for() -> None:
    with serving() as port:
        assert b"answer 42.0" in get(port, "/metrics")
        assert get(port, "/metrics", Accept="application/openmetrics-text; version=1.0.0").endswith(
            b"# EOF\n"
        )
        assert b"answer 42.0" in gzip.decompress(get(port, "/metrics", **{"Accept-Encoding": "gzip"}))


def test_progress_is_the_document_of_the_schema() -> None:
    progress = board()
    with serving(progress) as port:
        document = json.loads(get(port, "/progress"))
        jsonschema.validate(document, SCHEMA)
        assert document["iteration"] == 7
        progress.update(iteration=8)
        assert json.loads(get(port, "/progress"))["iteration"] == 8


def test_health() -> None:
    with serving() as port:
        assert get(port, "/healthz") == b"ok\n"


@pytest.mark.parametrize("path", ["/", "/metrics/", "/favicon.ico", "/../etc/passwd", "/progress"])
def test_nothing_else_is_there(path: str) -> None:
    with serving() as port, pytest.raises(urllib.error.HTTPError, match="404") as caught:
        get(port, path)
    caught.value.close()


def test_idle_clients_keep_nobody_waiting() -> None:
    with ExitStack() as clients, serving(max_connections=16) as port:
        for _ in range(100):
            clients.enter_context(connect(port))

        assert b"answer 42.0" in get(port, "/metrics")


def test_a_client_that_trickles_is_cut_off() -> None:
    with serving(request_seconds=0.5) as port, connect(port) as slow:
        stop = threading.Event()

        def trickle() -> None:
            try:
                while not stop.wait(0.05):
                    slow.sendall(b"G")  # never idle, never done
            except OSError:
                stop.set()

        trickling = threading.Thread(target=trickle)
        trickling.start()
        try:
            assert read_until_closed(slow) == b""
            assert b"answer 42.0" in get(port, "/metrics")
        finally:
            stop.set()
            trickling.join()


def test_a_client_that_does_not_read_keeps_nobody_waiting() -> None:
    with ExitStack() as clients, serving() as port:
        for _ in range(8):
            client = clients.enter_context(connect(port))
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")

        assert b"answer 42.0" in get(port, "/metrics")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\n\n\n",
        b"GET\r\n\r\n",
        b"\xff" * 70_000,
        b"GET / HTTP/1.0\r\n" + b"a" * 70_000,
    ],
    ids=["tls", "newlines", "half a request", "long line", "long header"],
)
def test_garbage_is_survived(garbage: bytes) -> None:
    with serving() as port:
        with connect(port) as client:
            try:
                client.sendall(garbage)
                client.shutdown(socket.SHUT_WR)
                read_until_closed(client)
            except (ConnectionResetError, BrokenPipeError):
                pass  # it need not hear the garbage out

        assert b"answer 42.0" in get(port, "/metrics")


def test_a_client_that_breaks_off_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as port:
        for _ in range(5):
            with connect(port) as client:
                client.sendall(b"GET /metrics HT")
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert b"answer 42.0" in get(port, "/metrics")

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_taken_port_is_replaced_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as taken:
        server = MetricsServer(CollectorRegistry(), board(), taken, "127.0.0.1")
        server.start()
        try:
            assert server.port not in (None, taken)
            assert json.loads(get(server.port or 0, "/progress"))["iteration"] == 7
        finally:
            server.close()
    assert f"instead of {taken}" in caplog.text


def test_an_address_that_cannot_be_had_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    server = MetricsServer(CollectorRegistry(), None, 0, "192.0.2.1")  # of TEST-NET-1, nobody's
    server.start()

    assert server.port is None
    assert "192.0.2.1" in caplog.text
    server.close()


def test_the_port_is_free_after_close() -> None:
    with serving() as port:
        get(port, "/healthz")
    again = MetricsServer(CollectorRegistry(), None, port, "127.0.0.1")
    again.start()
    assert again.port == port
    again.close()


def read_until_closed(client: socket.socket) -> bytes:
    received = b""
    while chunk := client.recv(65536):
        received += chunk
    return received
