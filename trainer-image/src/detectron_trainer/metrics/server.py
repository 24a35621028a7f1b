"""A small HTTP server for metrics and progress that no client can hold up, and that never stops training."""

from __future__ import annotations

import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from detectron_trainer.metrics.tls import Certificate

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from detectron_trainer.progress.board import ProgressBoard

MAX_CONNECTIONS = 32
REQUEST_SECONDS = 5.0
"""From accepting a connection to the end of its answer."""
LOOK_SECONDS = 0.5
"""Between two looks for connections whose time is up; each costs a tenth of a millisecond of CPU time."""
DRAIN_SECONDS = 0.5
"""Time for the answers under way when the server closes."""

_logger = logging.getLogger(__name__)


class MetricsServer:
    """Serves ``/metrics`` of `registry`, ``/progress`` of `board` (404 without one) and ``/healthz``.

    ``/healthz`` is 503 while the training that `board` shows stands still.

    A port that is taken must not end a training run: the server then takes any free one, with a warning.
    With a `certificate` it serves TLS alone.

    Attributes:
        port: the port that is served, None before `start` and where none could be had.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        board: ProgressBoard | None,
        port: int,
        host: str = "0.0.0.0",
        *,
        certificate: Certificate | None = None,
        max_connections: int = MAX_CONNECTIONS,
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        self.port: int | None = None
        self._app = _application(registry, board)
        self._wanted_port = port
        self._host = host
        self._certificate = certificate
        self._max_connections = max_connections
        self._request_seconds = request_seconds
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Serve from a daemon thread until `close`."""
        server = self._bind(self._wanted_port) or self._bind(0)
        if server is None:
            return
        server.set_app(self._app)
        self.port = server.server_port
        if self._wanted_port not in (0, self.port):
            _logger.warning("Metrics are at port %d instead of %d.", self.port, self._wanted_port)
        self._server = server
        self._thread = threading.Thread(
            target=server.serve_forever,
            kwargs={"poll_interval": LOOK_SECONDS},
            name="metrics-server",
            daemon=True,
        )
        self._thread.start()

    def close(self) -> None:
        """Let the answers under way go out, then stop serving."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.drain()
            self._server.server_close()
            self._server = self._thread = self.port = None

    def _bind(self, port: int) -> _Server | None:
        try:
            return _Server(
                (self._host, port), self._certificate, self._max_connections, self._request_seconds
            )
        except OSError as error:
            _logger.warning("Metrics cannot be served at %s:%d: %s", self._host, port, error)
            return None


def _application(registry: CollectorRegistry, board: ProgressBoard | None) -> WSGIApplication:
    metrics: WSGIApplication = make_wsgi_app(registry)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start_response)
        if path == "/healthz":
            # Told to the kubelet, which reaches the pod where the operator may not.
            stuck = board is not None and board.snapshot().stands_still
            status, text = (
                (HTTPStatus.SERVICE_UNAVAILABLE, "no progress\n") if stuck else (HTTPStatus.OK, "ok\n")
            )
            return _answer(start_response, status, "text/plain; charset=utf-8", text)
        if path == "/progress" and board is not None:
            return _answer(start_response, HTTPStatus.OK, "application/json", board.snapshot().to_json())
        return _answer(start_response, HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", "not found\n")

    return application


def _answer(
    start_response: StartResponse, status: HTTPStatus, content_type: str, text: str
) -> Iterable[bytes]:
    body = text.encode()
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]


class _Handler(WSGIRequestHandler):
    server_version = "detectron-trainer"
    sys_version = ""

    def log_message(self, format: str, *args: object) -> None:
        _logger.debug(format, *args)


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """One thread for each connection, of which there are few and which all end soon.

    A request takes milliseconds and its connection is closed after it, so a connection that is older than its
    time, or the oldest of too many, is one whose client is slow, idle or hostile: it is cut off.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        certificate: Certificate | None,
        max_connections: int,
        request_seconds: float,
    ) -> None:
        self._certificate = certificate
        self._max_connections = max_connections
        self._request_seconds = request_seconds
        self._lock = threading.Condition()
        self._deadlines: dict[socket.socket, float] = {}  # in the order of arrival
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer would look up the host's name here, which takes seconds where DNS does not answer.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, object]:
        request, address = super().get_request()
        if self._certificate is not None:
            request = self._certificate.wrap(request)
        with self._lock:
            if len(self._deadlines) >= self._max_connections:
                self._cut_off(next(iter(self._deadlines)))
                self._lock.wait_for(lambda: len(self._deadlines) < self._max_connections, DRAIN_SECONDS)
            self._deadlines[request] = time.monotonic() + self._request_seconds
        return request, address

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        if isinstance(request, socket.socket):
            with self._lock:
                self._deadlines.pop(request, None)
                self._lock.notify_all()
        super().shutdown_request(request)

    def service_actions(self) -> None:
        with self._lock:
            now = time.monotonic()
            for request, deadline in self._deadlines.items():
                if deadline <= now:
                    self._cut_off(request)

    def drain(self) -> None:
        """Wait for the answers under way, then cut off who is left."""
        with self._lock:
            self._lock.wait_for(lambda: not self._deadlines, timeout=DRAIN_SECONDS)
            for request in self._deadlines:
                self._cut_off(request)

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exception()
        if isinstance(error, OSError):
            _logger.debug("%s went away: %s", client_address, error)
        else:
            _logger.error("Answering %s failed", client_address, exc_info=error)

    def _cut_off(self, request: socket.socket) -> None:
        """End the connection, whose thread then wakes up and takes it off the list."""
        try:
            # Not by TLS' own way, which that thread may be about to use.
            socket.socket.shutdown(request, socket.SHUT_RDWR)
        except OSError as error:
            _logger.debug("a connection was gone before it was cut off: %s", error)
