"""The poller asks where it is told to, in plain HTTP or over TLS."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime

import pytest
from aiohttp import web

from detectron_operator.engine.poller import Poller, Silence
from detectron_operator.kube.objects import Key
from tests.cluster.pki import Authority

JOB = Key("team", "train")


async def polled(context: ssl.SSLContext | None, scheme: str) -> bytes | Silence:
    """What the poller delivers of a pod that serves a document, over TLS where there is a `context`."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.path} over {request.scheme}")

    application = web.Application()
    application.router.add_get("/progress", answer)
    server = web.AppRunner(application, access_log=None)
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    delivered: asyncio.Queue[bytes | Silence] = asyncio.Queue()
    port = server.addresses[0][1]
    clock = asyncio.get_running_loop().time
    failures: list[Key] = []
    poller = Poller(0.01, port, lambda job, content: delivered.put_nowait(content), failures.append, clock)
    poller.follow(JOB, f"{scheme}://127.0.0.1")
    running = asyncio.create_task(poller.run())
    try:
        content = await asyncio.wait_for(delivered.get(), 20)
        assert failures == []
        return content
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await server.cleanup()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """Of an authority that nobody knows, for another host."""
    folder = tmp_path_factory.mktemp("authority")
    files = (
        Authority(folder, datetime.now(UTC)).issue("metrics", hosts=["metrics.example"]).write(folder / "tls")
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context


def test_plain() -> None:
    assert asyncio.run(polled(None, "http")) == b"/progress over http"


def test_over_tls_whoever_signed_it(certificate: ssl.SSLContext) -> None:
    assert asyncio.run(polled(certificate, "https")) == b"/progress over https"


def test_a_pod_that_does_not_speak_as_told_says_nothing(certificate: ssl.SSLContext) -> None:
    assert asyncio.run(polled(certificate, "http")) is Silence.UNREACHABLE
    assert asyncio.run(polled(None, "https")) is Silence.UNREACHABLE
