"""The client against a server that does what API servers do when they are in trouble, or full."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from detectron_operator import complaints
from detectron_operator.kube import errors
from detectron_operator.kube.client import FRESH_STARTS, GLANCE, GLANCE_BYTES, Client
from detectron_operator.kube.clock import Clock
from detectron_operator.kube.objects import EVENTS, PODS, Key, Object
from detectron_operator.kube.ratelimit import RateLimit

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def asked(answer: Answer, question: Callable[[Client], Awaitable[object]], timeout: float = 5.0) -> object:
    """What the client makes of it when a server answers so."""

    async def scenario() -> object:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        configuration = Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
        limit = RateLimit(1000, 1000, time.monotonic)
        try:
            clock = Clock(time.monotonic, datetime.now(UTC))
            async with Client(configuration, limit, lambda *_: None, clock, timeout) as client:
                return await question(client)
        finally:
            await runner.cleanup()

    return asyncio.run(scenario())


def name_of(raw: Object) -> str:
    meta = raw["metadata"]
    assert isinstance(meta, Mapping)
    return str(meta["name"])


def page(names: Sequence[str], version: int, further: str = "") -> web.Response:
    items = [{"metadata": {"name": name}} for name in names]
    return web.json_response(
        {"items": items, "metadata": {"resourceVersion": str(version), "continue": further}}
    )


def gone() -> web.Response:
    said = {"kind": "Status", "code": 410, "message": "The provided continue parameter is too old"}
    return web.json_response(said, status=410)


def test_a_request_that_hangs_is_given_up() -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(errors.UnavailableError, match=r"get pods a/b: .*Timeout"):
        asked(hang, lambda client: client.get(PODS, Key("a", "b")), timeout=0.1)


def test_an_answer_that_stops_in_the_middle_is_given_up() -> None:
    async def stop(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b'{"items": [')
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(errors.UnavailableError, match=r"list pods in a: .*Timeout"):
        asked(stop, lambda client: client.list(PODS, name_of, "a"), timeout=0.1)


def test_a_list_whose_continuation_is_too_old_begins_anew() -> None:
    """With none of what it had: that was of another version."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        further = request.query.get("continue", "")
        seen.append(further)
        first = len(seen) == 1
        if further == "old":
            return gone()
        if further == "new":
            return page(["c"], 7)
        return page(["a", "b"], 6, "old") if first else page(["b"], 7, "new")

    found = asked(answer, lambda client: client.list(PODS, name_of, "a"))
    assert (found.items, found.version) == (["b", "c"], 7)  # type: ignore[attr-defined]
    assert seen == ["", "old", "", "new"]


def test_a_list_does_not_begin_anew_for_ever() -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.query.get("continue", ""))
        return gone() if seen[-1] else page(["a"], 6, "old")

    with pytest.raises(errors.GoneError):
        asked(answer, lambda client: client.list(PODS, name_of, "a"))
    assert seen == ["", "old"] * (FRESH_STARTS + 1)


def test_a_list_that_is_gone_from_the_start_is_an_error() -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return gone()

    with pytest.raises(errors.GoneError):
        asked(answer, lambda client: client.list(PODS, name_of, "a"))


def event(message: str) -> Object:
    return {"reason": "FailedMount", "message": message, "lastTimestamp": "2026-01-01T00:00:00Z"}


def glance(client: Client) -> Awaitable[object]:
    return client.glance(EVENTS, complaints.read, "a", complaints.selector("u"))


def test_a_glance_is_one_page_of_which_only_what_counts_is_kept() -> None:
    queries: list[Mapping[str, str]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        queries.append(dict(request.query))
        items = [event("no such volume"), {"reason": "of another shape"}]
        return web.json_response({"items": items, "metadata": {"resourceVersion": "6", "continue": "more"}})

    found = asked(answer, glance)
    assert [complaint.message for complaint in found] == ["no such volume"]  # type: ignore[attr-defined]
    assert queries == [{"limit": str(GLANCE), "fieldSelector": "involvedObject.uid=u,type=Warning"}]


@pytest.mark.parametrize("packed", [False, True])
def test_a_glance_takes_in_no_more_than_it_may_and_the_next_request_is_answered(packed: bool) -> None:
    sent = 0
    large = json.dumps({"items": [event("x" * 2**20)] * 64}).encode()
    assert len(large) > 64 * GLANCE_BYTES

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        if "pods" in request.path:
            return web.json_response({"metadata": {"name": "b"}})
        headers = {"Content-Encoding": "gzip"} if packed else {}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        body = gzip.compress(large, 1) if packed else large
        for start in range(0, len(body), 2**16):
            await response.write(body[start : start + 2**16])
            sent += 2**16
        return response

    async def question(client: Client) -> object:
        with pytest.raises(errors.TooLargeError, match="list events in a: 200: there are more than 1048576"):
            await glance(client)
        return await client.get(PODS, Key("a", "b"))

    assert asked(answer, question) == {"metadata": {"name": "b"}}
    # What buffers hold on both sides comes on top; the rest was never sent.
    assert sent < 16 * 2**20
