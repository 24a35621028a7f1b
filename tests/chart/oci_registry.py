"""A registry of OCI artifacts that forgets all of them when it stops, over TLS on this machine."""

from __future__ import annotations

import hashlib
import http.server
import ssl
import threading
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

_OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class OciRegistry:
    """Serves pushes at `https://<host>/v2/`, in a thread of its own.

    Args:
        certificate, key: of the server, PEM files.

    Attributes:
        blobs: contents by digest.
        manifests: contents by `<name>:<tag>` and by `<name>@<digest>`.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def host(self) -> str:
        """Its host and port, as they begin a reference."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> OciRegistry:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._answer(404)

            def do_GET(self) -> None:
                content = registry.manifests.get(_reference(self.path))
                if content is None:
                    return self._answer(404)
                return self._answer(200, content, ("Content-Type", _OCI_MANIFEST))

            def do_POST(self) -> None:
                self._answer(202, b"", ("Location", f"{self.path}one"))

            def do_PUT(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
                if "/manifests/" in self.path:
                    registry.manifests[_reference(self.path)] = content
                elif parse_qs(urlsplit(self.path).query)["digest"] == [digest]:
                    registry.blobs[digest] = content
                else:
                    return self._answer(400)
                return self._answer(201, b"", ("Docker-Content-Digest", digest))

            def _answer(self, code: int, content: bytes = b"", *headers: tuple[str, str]) -> None:
                self.send_response(code)
                for name, value in (("Content-Length", str(len(content))), *headers):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing."""

        return Handler


def _reference(path: str) -> str:
    """`/v2/<name>/manifests/<tag or digest>` as a reference."""
    name, _, tag = path.removeprefix("/v2/").partition("/manifests/")
    return f"{name}@{tag}" if tag.startswith("sha256:") else f"{name}:{tag}"
