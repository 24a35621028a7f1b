"""A fake rank 0: serves whatever progress document the test puts there, on a port of 127.0.0.1."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from tests.apiserver.api import Object
from tests.cluster.waiting import wait_until

DONE: Object = {"reason": "Completed", "message": "trained 100 iterations", "retryable": False}
"""The verdict of a trainer that has trained all of its iterations."""


def progress(iteration: int, of: int = 100, attempt: int = 0, **more: object) -> Object:
    """A progress document as the trainer writes them."""
    return {
        "version": 1,
        "phase": "Training",
        "attempt": attempt,
        "worldSize": 2,
        "iteration": iteration,
        "maxIterations": of,
        "progressPercentage": 100 * iteration // of,
        "estimatedRemainingSeconds": of - iteration,
        "metrics": [{"name": "total_loss", "value": 1.25}, {"name": "lr", "value": 0.01}],
        "lastUpdatedTime": datetime.now(UTC).isoformat(timespec="milliseconds"),
    } | more


class FakeTrainer:
    """Serves `document` (or, if it is bytes, just these) at /progress; counts how often it was asked."""

    def __init__(self) -> None:
        self.document: Object | bytes = progress(0)
        self.asked = 0
        self._speaks = threading.Event()
        self._speaks.set()
        trainer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                trainer.asked += 1
                trainer._speaks.wait()
                document = trainer.document
                content = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                """The test's output is no place for an access log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]

    def __enter__(self) -> "FakeTrainer":
        threading.Thread(target=self._server.serve_forever, name="fake trainer", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def mute(self) -> Iterator[None]:
        """Take connections and let whoever asks wait, as a process does that stands still."""
        self._speaks.clear()
        try:
            yield
        finally:
            self._speaks.set()

    def await_look(self) -> None:
        """Wait until somebody has asked for the document as it is now."""
        asked = self.asked
        wait_until(lambda: self.asked > asked + 1, 20, "somebody to ask for the progress document")
