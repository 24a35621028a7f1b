"""The metrics server under clients that are slow, idle, many or no HTTP clients at all."""

import errno
import gzip
import json
import logging
import socket
import ssl
import struct
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest
from prometheus_client import CollectorRegistry, Gauge

from detectron_trainer.metrics.server import MetricsServer
from detectron_trainer.metrics.tls import Certificate, CertificateError
from detectron_trainer.progress.board import ProgressBoard
from detectron_trainer.progress.document import Progress
from detectron_trainer.progress.parts import Phase
from tests.cluster.pki import Authority

NOW = datetime(2026, 10, 7, tzinfo=UTC)
SCHEMA = json.loads((Path(__file__).parents[2] / "crds/progress.schema.json").read_text())


def board() -> ProgressBoard:
    progress = Progress(phase=Phase.TRAINING, attempt=1, world_size=2, iteration=7, last_updated_time=NOW)
    return ProgressBoard(progress, clock=lambda: NOW)


@dataclass(frozen=True)
class Transport:
    """Plain HTTP, or TLS with the certificate in a folder and a client that verifies it."""

    certificate: Path | None = None
    trust: ssl.SSLContext | None = None

    @contextmanager
    def serving(
        self,
        progress: ProgressBoard | None = None,
        *,
        max_connections: int = 32,
        request_seconds: float = 30,
        port: int = 0,
    ) -> Iterator[int]:
        registry = CollectorRegistry()
        Gauge("answer", "To everything.", registry=registry).set(42)
        certificate = Certificate(self.certificate) if self.certificate else None
        server = MetricsServer(
            registry,
            progress,
            port,
            "127.0.0.1",
            certificate=certificate,
            max_connections=max_connections,
            request_seconds=request_seconds,
        )
        server.start()
        assert server.port is not None
        try:
            yield server.port
        finally:
            server.close()

    def get(self, port: int, path: str, **headers: str) -> bytes:
        scheme = "https" if self.trust else "http"
        request = urllib.request.Request(f"{scheme}://127.0.0.1:{port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=10, context=self.trust) as answer:
            body = answer.read()
        assert isinstance(body, bytes)
        return body

    def connect(self, port: int) -> socket.socket:
        """A client that has said nothing of HTTP yet."""
        client = connect(port)
        return client if self.trust is None else self.trust.wrap_socket(client, server_hostname="127.0.0.1")


def connect(port: int) -> socket.socket:
    """A client that has said nothing at all."""
    return socket.create_connection(("127.0.0.1", port), timeout=20)


PLAIN = Transport()


def issue(authority: Authority, folder: Path, host: str = "127.0.0.1") -> None:
    """What a Secret of type kubernetes.io/tls holds, in `folder`."""
    issued = authority.issue("metrics", hosts=[host])
    (folder / "tls.crt").write_bytes(issued.certificate)
    (folder / "tls.key").write_bytes(issued.key)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), datetime.now(UTC))


@pytest.fixture
def encrypted(authority: Authority, tmp_path: Path) -> Transport:
    issue(authority, tmp_path)
    return Transport(tmp_path, ssl.create_default_context(cafile=str(authority.path)))


@pytest.fixture(params=["plain", "tls"])
def transport(request: pytest.FixtureRequest) -> Transport:
    return PLAIN if request.param == "plain" else request.getfixturevalue("encrypted")


def test_metrics_in_the_format_that_is_asked_for(transport: Transport) -> None:
    with transport.serving() as port:
        assert b"answer 42.0" in transport.get(port, "/metrics")
        assert transport.get(port, "/metrics", Accept="application/openmetrics-text; version=1.0.0").endswith(
            b"# EOF\n"
        )
        assert b"answer 42.0" in gzip.decompress(
            transport.get(port, "/metrics", **{"Accept-Encoding": "gzip"})
        )


def test_health_is_that_training_gets_on(transport: Transport) -> None:
    now = 0.0
    progress = ProgressBoard(
        Progress(phase=Phase.TRAINING, attempt=0, world_size=1, iteration=0, last_updated_time=NOW),
        clock=lambda: NOW,
        monotonic_clock=lambda: now,
    )
    with transport.serving(progress) as port:
        for completed in range(1, 21):
            now += 1
            progress.complete_iteration(completed)
        assert transport.get(port, "/healthz") == b"ok\n"
        now += 60
        with pytest.raises(urllib.error.HTTPError, match="503"):
            transport.get(port, "/healthz")
        progress.complete_iteration(21)
        assert transport.get(port, "/healthz") == b"ok\n"


def test_progress_is_the_document_of_the_schema(transport: Transport) -> None:
    progress = board()
    with transport.serving(progress) as port:
        document = json.loads(transport.get(port, "/progress"))
        jsonschema.validate(document, SCHEMA)
        assert document["iteration"] == 7
        progress.update(iteration=8)
        assert json.loads(transport.get(port, "/progress"))["iteration"] == 8


def test_health(transport: Transport) -> None:
    with transport.serving() as port:
        assert transport.get(port, "/healthz") == b"ok\n"


@pytest.mark.parametrize("path", ["/", "/metrics/", "/favicon.ico", "/../etc/passwd", "/progress"])
def test_nothing_else_is_there(transport: Transport, path: str) -> None:
    with transport.serving() as port, pytest.raises(urllib.error.HTTPError, match="404") as caught:
        transport.get(port, path)
    caught.value.close()


def test_idle_clients_keep_nobody_waiting(transport: Transport) -> None:
    with ExitStack() as clients, transport.serving(max_connections=16) as port:
        for _ in range(100):
            clients.enter_context(connect(port))

        assert b"answer 42.0" in transport.get(port, "/metrics")


def test_a_client_that_trickles_is_cut_off(transport: Transport) -> None:
    with transport.serving(request_seconds=0.5) as port, transport.connect(port) as slow:
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
            assert b"answer 42.0" in transport.get(port, "/metrics")
        finally:
            stop.set()
            trickling.join()


def test_a_client_that_does_not_read_keeps_nobody_waiting(transport: Transport) -> None:
    with ExitStack() as clients, transport.serving() as port:
        for _ in range(8):
            client = clients.enter_context(transport.connect(port))
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")

        assert b"answer 42.0" in transport.get(port, "/metrics")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\n\n\n",
        b"GET\r\n\r\n",
        b"\xff" * 70_000,
        b"GET / HTTP/1.0\r\n" + b"a" * 70_000,
        b"GET / HTTP/1.0\r\n" + b"a: b\r\n" * 20_000,
    ],
    ids=["tls", "newlines", "half a request", "long line", "long header", "many headers"],
)
def test_garbage_is_survived(transport: Transport, garbage: bytes) -> None:
    with transport.serving() as port:
        with transport.connect(port) as client:
            try:
                client.sendall(garbage)
                half_close(client)
                read_until_closed(client)
            except (ConnectionError, ssl.SSLError):
                pass  # it need not hear the garbage out

        assert b"answer 42.0" in transport.get(port, "/metrics")


def test_a_client_that_breaks_off_is_no_error(transport: Transport, caplog: pytest.LogCaptureFixture) -> None:
    with transport.serving() as port:
        for _ in range(5):
            with transport.connect(port) as client:
                client.sendall(b"GET /metrics HT")
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert b"answer 42.0" in transport.get(port, "/metrics")

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_taken_port_is_replaced_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with PLAIN.serving() as taken:
        server = MetricsServer(CollectorRegistry(), board(), taken, "127.0.0.1")
        server.start()
        try:
            assert server.port not in (None, taken)
            assert json.loads(PLAIN.get(server.port or 0, "/progress"))["iteration"] == 7
        finally:
            server.close()
    assert f"instead of {taken}" in caplog.text


def test_an_address_that_cannot_be_had_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    server = MetricsServer(CollectorRegistry(), None, 0, "192.0.2.1")  # of TEST-NET-1, nobody's
    server.start()

    assert server.port is None
    assert "192.0.2.1" in caplog.text
    server.close()


def test_the_port_is_free_after_close(transport: Transport) -> None:
    with transport.serving() as port:
        transport.get(port, "/healthz")
    with transport.serving(port=port) as again:
        assert again == port


def test_thousands_of_clients_are_a_few_threads() -> None:
    before = threading.active_count()
    most = 0
    with PLAIN.serving(max_connections=16) as port:
        with subprocess.Popen([sys.executable, "-c", FLOOD, str(port)]) as flood:
            while flood.returncode is None:
                most = max(most, threading.active_count())
                with suppress(subprocess.TimeoutExpired):
                    flood.wait(0.02)
        assert flood.returncode == 0
        assert b"answer 42.0" in PLAIN.get(port, "/metrics")
    assert 16 <= most - before <= 20


FLOOD = """
import collections, socket, sys
clients = collections.deque(maxlen=200)
for _ in range(2000):
    clients.append(socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20))
"""


def test_a_client_that_closed_its_half_is_answered(transport: Transport) -> None:
    with transport.serving() as port, transport.connect(port) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        half_close(client)
        assert b"answer 42.0" in read_until_closed(client)


def test_answers_say_how_long_they_are(transport: Transport) -> None:
    """So that a client need not take the end of the connection for the end of the answer."""
    with transport.serving(board()) as port:
        for path in (b"/metrics", b"/progress", b"/healthz", b"/"):
            with transport.connect(port) as client:
                client.sendall(b"GET " + path + b" HTTP/1.0\r\n\r\n")
                head, _, body = read_until_closed(client).partition(b"\r\n\r\n")
            assert f"Content-Length: {len(body)}".encode() in head


def test_who_speaks_no_tls_gets_no_answer(encrypted: Transport) -> None:
    with encrypted.serving() as port:
        with connect(port) as client:
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            # A reset is no answer either.
            with suppress(ConnectionResetError):
                assert b"answer" not in read_until_closed(client)
        assert b"answer 42.0" in encrypted.get(port, "/metrics")


def test_a_renewed_certificate_is_taken_and_a_broken_one_is_not(
    encrypted: Transport, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    folder = encrypted.certificate
    assert folder is not None

    def serial(port: int) -> object:
        with encrypted.connect(port) as client:
            assert isinstance(client, ssl.SSLSocket)
            peer = client.getpeercert()
            assert peer is not None
            return peer["serialNumber"]

    with encrypted.serving() as port:
        first = serial(port)
        issue(authority, folder)
        second = serial(port)
        assert second != first
        (folder / "tls.crt").write_text("broken")
        assert serial(port) == second
        assert "cannot be read" in caplog.text
        issue(authority, folder)
        assert serial(port) != second


@pytest.mark.parametrize("broken", ["tls.crt", "tls.key"])
def test_a_certificate_that_is_none_is_told(encrypted: Transport, broken: str) -> None:
    assert encrypted.certificate is not None
    (encrypted.certificate / broken).write_text("")
    with pytest.raises(CertificateError, match="no certificate with its key"):
        Certificate(encrypted.certificate)
    (encrypted.certificate / broken).unlink()
    with pytest.raises(CertificateError, match=broken):
        Certificate(encrypted.certificate)


def half_close(client: socket.socket) -> None:
    """Say no more, and still listen; a connection that the server has reset by now is told as such."""
    try:
        socket.socket.shutdown(client, socket.SHUT_WR)
    except OSError as error:
        if error.errno == errno.ENOTCONN:  # what a reset that came before leaves, and no ConnectionError
            raise ConnectionResetError(error.errno, error.strerror) from error
        raise


def read_until_closed(client: socket.socket) -> bytes:
    received = b""
    while chunk := client.recv(65536):
        received += chunk
    return received
