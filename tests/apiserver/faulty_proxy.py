"""A proxy between the operator and the API server, where tests make things go wrong.

Clients speak plain HTTP to it; to the API server it is one user.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import aiohttp
from aiohttp import web

from tests.cluster.controlplane import ControlPlane

USER = "operator"
_DROPPED = {"Transfer-Encoding", "Content-Length", "Connection", "Host", "Content-Encoding"}


@dataclass(frozen=True)
class Request:
    """What the operator asks for."""

    method: str
    path: str
    query: str

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    @property
    def watches(self) -> bool:
        return "watch=true" in self.query


class FaultyProxy:
    """Forwards everything, until told otherwise.

    Attributes:
        requests: everything that was forwarded.
        refuse: called with each request; a status code means that it is answered with that instead.
        delay: called with each request; so many seconds later it is forwarded or refused.
        retry_after: seconds that a refusal asks to wait; None says nothing.
        refused: when each request was refused, in monotonic seconds.
        after_write: called when the API server has answered a write, before the operator hears of it.
    """

    def __init__(self, plane: ControlPlane, user: str = USER, groups: Sequence[str] = ()) -> None:
        self._server = plane.server
        certificate = plane.authority.issue(user, groups)
        self._tls = ssl.create_default_context(cafile=str(plane.authority.path))
        self._tls.load_cert_chain(*certificate.write(plane.directory / "proxy"))
        self.requests: list[Request] = []
        self.refuse: Callable[[Request], int | None] = lambda _: None
        self.delay: Callable[[Request], float] = lambda _: 0.0
        self.retry_after: int | None = None
        self.refused: list[tuple[float, Request]] = []
        self.after_write: Callable[[Request], None] = lambda _: None
        self._watches: dict[asyncio.Task[object], web.StreamResponse] = {}
        self._paths: dict[web.StreamResponse, str] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self.port = 0

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads here."""
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
                    "users": [{"name": "u", "user": {}}],
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "x",
                }
            )
        )
        return path

    @property
    def open_watches(self) -> int:
        """How many watches the API server has answered and nobody has ended."""
        return len(self._watches)

    def cut_watches(self, last_event: Mapping[str, object] | None = None) -> int:
        """Break every watch that is open, after a last event in it; returns how many there were."""

        async def cut() -> int:
            watches = dict(self._watches)
            for task, stream in watches.items():
                if last_event is not None:
                    await stream.write(json.dumps(last_event).encode() + b"\n")
                task.cancel()
            return len(watches)

        return asyncio.run_coroutine_threadsafe(cut(), self._loop).result(10)

    def send(self, path: str, bursts: Iterable[bytes], interval: float) -> concurrent.futures.Future[None]:
        """Begin to send into every open watch whose path ends so; the future is done when all is sent.

        Args:
            bursts: events, one a line. This process answers the operator too: they are best made beforehand.
            interval: seconds from one burst to the next.
        """

        async def send() -> None:
            found = [stream for stream in self._watches.values() if self._paths[stream].endswith(path)]
            due = self._loop.time()
            for burst in bursts:
                await asyncio.sleep(due - self._loop.time())
                due += interval
                for stream in found:
                    await stream.write(burst)

        return asyncio.run_coroutine_threadsafe(send(), self._loop)

    def __enter__(self) -> FaultyProxy:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls), auto_decompress=False
        )
        app = web.Application(client_max_size=16 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _handle(self, incoming: web.Request) -> web.StreamResponse:
        asked = Request(incoming.method, incoming.path, incoming.query_string)
        await asyncio.sleep(self.delay(asked))
        code = self.refuse(asked)
        if code is not None:
            self.refused.append((time.monotonic(), asked))
            wait = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
            said = {"kind": "Status", "code": code, "message": "by the test"}
            return web.json_response(said, status=code, headers=wait)
        self.requests.append(asked)
        headers = {name: value for name, value in incoming.headers.items() if name not in _DROPPED}
        async with self._session.request(
            incoming.method,
            self._server + incoming.path_qs,
            headers=headers,
            data=await incoming.read() or None,
            skip_auto_headers=["Content-Type"],
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name not in _DROPPED}
            if asked.watches:
                return await self._stream(incoming, answer, kept)
            body = await answer.read()
            if asked.writes:
                self.after_write(asked)
            return web.Response(status=answer.status, headers=kept, body=body)

    async def _stream(
        self, incoming: web.Request, answer: aiohttp.ClientResponse, headers: dict[str, str]
    ) -> web.StreamResponse:
        outgoing = web.StreamResponse(status=answer.status, headers=headers)
        await outgoing.prepare(incoming)
        task = asyncio.current_task()
        assert task is not None
        self._watches[task] = outgoing
        self._paths[outgoing] = incoming.path
        try:
            # An operator that was killed hears no more: that is what the proxy is for.
            with contextlib.suppress(ConnectionResetError):
                rest = b""
                async for chunk in answer.content.iter_any():
                    # Whole lines only: `send` writes between them.
                    lines, newline, rest = (rest + chunk).rpartition(b"\n")
                    await outgoing.write(lines + newline)
        finally:
            del self._watches[task], self._paths[outgoing]
        return outgoing
