"""A web server on 127.0.0.1 that hands out weights, whole or not, and counts who asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class WeightServer:
    """Hands out `files` by name, without their last `missing` bytes; ``/404`` is answered with 404."""

    files: dict[str, bytes] = field(default_factory=dict)
    missing: int = 0
    requests: list[str] = field(default_factory=list)
    port: int = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    @contextmanager
    def serving(self) -> Iterator[None]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.strip("/")
                server.requests.append(name)
                if name not in server.files:
                    self.send_error(int(name) if name.isdecimal() else 404)
                    return
                content = server.files[name]
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) - server.missing])

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing: the tests look at `requests`."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
            self.port = listening.server_address[1]
            thread = threading.Thread(target=listening.serve_forever)
            thread.start()
            try:
                yield
            finally:
                listening.shutdown()
                thread.join()
