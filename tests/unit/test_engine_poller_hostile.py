"""The poller against real sockets: slow, endless and hostile pods delay and harm nobody else."""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web

from detectron_operator.engine.poller import AT_ONCE, LARGEST, PATIENCE, Poller, Silence
from detectron_operator.kube.objects import Key

PERIOD = 0.05
Answer = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]


class Pods:
    """Pods at 127.1.0.1, 127.1.0.2, ...: one server, which tells them apart by the address that was asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.heard: dict[Key, list[bytes | Silence]] = {}
        self.failed: Counter[Key] = Counter()
        self.indigestible: set[Key] = set()
        self.special: dict[str, Answer] = {}
        self.port = 0
        self.over = asyncio.Event()
        self._news = asyncio.Event()

    def deliver(self, job: Key, content: bytes | Silence) -> None:
        if job in self.indigestible:
            raise KeyError("an error of the operator's own")
        self.heard.setdefault(job, []).append(content)
        self._news.set()

    def fail(self, job: Key) -> None:
        self.failed[job] += 1
        self._news.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        host = request.host.partition(":")[0]
        self.asked[host] += 1
        self._news.set()
        return await self.special.get(host, _document)(request)

    async def silence(self, _: web.Request) -> web.Response:
        await self.over.wait()
        return web.Response()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds, which something asked or heard may make true."""
        async with asyncio.timeout(20):
            while not condition():
                self._news.clear()
                await self._news.wait()


async def _document(_: web.Request) -> web.Response:
    return web.Response(body=b"document")


@asynccontextmanager
async def polling(pods: Pods) -> AsyncIterator[Poller]:
    app = web.Application()
    app.router.add_get("/progress", pods.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "0.0.0.0", 0)
    await site.start()
    pods.port = runner.addresses[0][1]
    poller = Poller(PERIOD, pods.port, pods.deliver, pods.fail, asyncio.get_running_loop().time)
    task = asyncio.create_task(poller.run())
    try:
        yield poller
    finally:
        pods.over.set()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await runner.cleanup()


def follow(poller: Poller, number: int) -> tuple[Key, str]:
    job, host = Key("space", f"job-{number}"), f"127.1.{number // 250}.{number % 250 + 1}"
    poller.follow(job, f"http://{host}")
    return job, host


def test_every_followed_pod_is_asked_again_and_again_until_it_is_not_followed() -> None:
    async def scenario() -> None:
        pods = Pods()
        async with polling(pods) as poller:
            jobs = [follow(poller, number) for number in range(5)]
            await pods.until(lambda: all(pods.asked[host] >= 3 for _, host in jobs))
            job, host = jobs[0]
            assert pods.heard[job][-1] == b"document"
            poller.follow(job, None)
            assert job not in poller.followed
            others = [other for _, other in jobs[1:]]
            await pods.until(lambda: min(pods.asked[other] for other in others) >= 6)
            before = pods.asked[host]
            await pods.until(lambda: min(pods.asked[other] for other in others) >= 9)
            assert pods.asked[host] == before

    asyncio.run(scenario())


def test_a_hundred_silent_pods_delay_no_other() -> None:
    async def scenario() -> None:
        pods = Pods()
        async with polling(pods) as poller:
            for number in range(100):
                _, host = follow(poller, number)
                pods.special[host] = pods.silence
            job, host = follow(poller, 200)
            await pods.until(lambda: pods.asked.total() >= 100)
            before = pods.asked[host]
            loop = asyncio.get_running_loop()
            began = loop.time()
            await pods.until(lambda: pods.asked[host] >= before + 3)
            assert loop.time() - began < 1
            assert pods.heard[job][-1] == b"document"

    assert AT_ONCE > 100
    asyncio.run(scenario())


def test_a_pod_that_stays_silent_is_asked_less_and_less_often() -> None:
    async def scenario() -> None:
        pods = Pods()
        async with polling(pods) as poller:
            job, host = follow(poller, 0)
            pods.special[host] = pods.silence
            await pods.until(lambda: len(pods.heard.get(job, [])) == 1)
            assert pods.heard[job] == [Silence.TIMED_OUT]
            # Its clock is the poller's own state: a second silence doubles the pause again.
            target = poller._targets[job]
            assert target.slowness == 1
            due, _, waiting = poller._due[0]
            assert waiting is target
            assert due - asyncio.get_running_loop().time() <= 2 * PERIOD <= PATIENCE * PERIOD
            del pods.special[host]
            await pods.until(lambda: pods.heard[job][-1] == b"document")
            assert target.slowness == 0

    asyncio.run(scenario())


def test_what_is_too_large_or_a_bomb_or_leads_elsewhere_is_not_taken() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with suppress(ConnectionError):
            while True:
                await answer.write(b"x" * LARGEST)
        return answer

    async def bomb(_: web.Request) -> web.Response:
        body = gzip.compress(b"0" * (32 * 2**20))
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    async def elsewhere(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://127.1.3.1/progress")

    async def cookies(request: web.Request) -> web.Response:
        assert "Cookie" not in request.headers
        answer = web.Response(body=b"document")
        answer.set_cookie("tracked", "yes")
        return answer

    async def scenario() -> None:
        pods = Pods()
        async with polling(pods) as poller:
            jobs = []
            for number, hostile in enumerate((endless, bomb, elsewhere, cookies)):
                job, host = follow(poller, number)
                pods.special[host] = hostile
                jobs.append(job)
            await pods.until(lambda: all(len(pods.heard.get(job, [])) >= 2 for job in jobs))
            large, packed, away, tracked = (pods.heard[job] for job in jobs)
            assert set(large) == {Silence.UNREACHABLE}
            assert all(isinstance(content, bytes) and content.startswith(b"\x1f\x8b") for content in packed)
            assert set(away) == {Silence.UNREACHABLE}
            assert pods.asked["127.1.3.1"] == 0
            assert set(tracked) == {b"document"}

    asyncio.run(scenario())


def test_an_error_of_the_operators_own_costs_one_answer_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        pods = Pods()
        async with polling(pods) as poller:
            (odd, _), (job, host) = follow(poller, 0), follow(poller, 1)
            pods.indigestible = {odd}
            await pods.until(lambda: pods.failed[odd] >= 2)
            before = pods.asked[host]
            await pods.until(lambda: pods.asked[host] >= before + 3)
            assert pods.heard[job][-1] == b"document"
            pods.indigestible.clear()
            await pods.until(lambda: odd in pods.heard)
            assert set(pods.failed) == {odd}
            assert poller._targets[odd].slowness == 0

    asyncio.run(scenario())
    told = [record for record in caplog.records if record.levelname == "ERROR"]
    assert told
    assert all(record.exc_info and "job-0" in record.getMessage() for record in told)
