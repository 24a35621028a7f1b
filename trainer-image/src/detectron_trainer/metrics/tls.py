"""The server's side of TLS, with a certificate that may be renewed while the run goes on."""

from __future__ import annotations

import logging
import socket
import ssl
from pathlib import Path

_logger = logging.getLogger(__name__)


class CertificateError(Exception):
    """There is no certificate with its private key; says where and why."""


class Certificate:
    """``tls.crt`` and ``tls.key`` in `folder`, as a Secret of type kubernetes.io/tls holds them.

    A renewed certificate is taken at the next connection. While it cannot be read the one before serves on.

    Raises:
        CertificateError: they cannot be read now.
    """

    def __init__(self, folder: Path) -> None:
        self._files = folder / "tls.crt", folder / "tls.key"
        try:
            self._stamp = self._stamps()
            self._context = self._load()
        except OSError as error:
            raise CertificateError(f"no certificate with its key in {folder}: {error}") from error

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """The connection under TLS; it shakes hands when it is first read: no client is waited for here."""
        self._renew()
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def _renew(self) -> None:
        try:
            stamp = self._stamps()
            if stamp != self._stamp:
                self._stamp = stamp
                self._context = self._load()
                _logger.info("Metrics are served with a renewed certificate.")
        except OSError as error:
            _logger.warning("A renewed certificate for the metrics cannot be read: %s", error)

    def _stamps(self) -> tuple[int, ...]:
        return tuple(path.stat().st_mtime_ns for path in self._files)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.num_tickets = 0  # nobody resumes a session, and each ticket is work
        context.load_cert_chain(*self._files, password="")  # else an encrypted key would ask the terminal
        return context
