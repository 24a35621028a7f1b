"""Leader election against a model of the API server's Lease, in virtual time."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from detectron_operator.kube.client import Client
from detectron_operator.kube.errors import ConflictError, KubeError, NotFoundError, UnavailableError
from detectron_operator.kube.lease import Elector, LeaseLostError
from detectron_operator.kube.objects import Key, Object, Resource
from detectron_operator.leadership import lead
from tests.unit.virtual_time import run

LEASE = Key("system", "operator")
DURATION = 15.0
GIVES_UP = 10.0
"""Two thirds of the duration."""


class Server:
    """One Lease. `fault` is asked before each request and raises what goes wrong, `late` after each write."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.requests = 0
        self.fault: Callable[[str], Coroutine[None, None, None]] = _nothing
        self.late: Callable[[str], Coroutine[None, None, None]] = _nothing

    @property
    def holder(self) -> str | None:
        return None if self.lease is None else self.lease["spec"].get("holderIdentity")

    async def get(self, _: Resource, key: Key) -> Object:
        await self._asked("get")
        if self.lease is None:
            raise NotFoundError("get", 404, "not found")
        return copy.deepcopy(self.lease)

    async def create(self, _: Resource, namespace: str, manifest: Object) -> Object:
        await self._asked("create")
        if self.lease is not None:
            raise ConflictError("create", 409, "exists")
        return await self._store("create", cast("dict[str, Any]", copy.deepcopy(manifest)))

    async def patch(self, _: Resource, key: Key, version: int, patch: dict[str, Any]) -> Object:
        await self._asked("patch")
        assert self.lease is not None
        if version != self.version:
            raise ConflictError("patch", 409, "modified")
        spec = self.lease["spec"] | patch["spec"]
        return await self._store(
            "patch", self.lease | {"spec": {k: v for k, v in spec.items() if v is not None}}
        )

    async def _asked(self, verb: str) -> None:
        self.requests += 1
        await asyncio.sleep(0.01)
        await self.fault(verb)

    async def _store(self, verb: str, lease: dict[str, Any]) -> Object:
        self.version += 1
        lease["metadata"] |= {"resourceVersion": str(self.version)}
        self.lease = lease
        await self.late(verb)
        return copy.deepcopy(lease)

    def elector(self, identity: str) -> Elector:
        clock = asyncio.get_running_loop().time
        return Elector(
            cast("Client", self), LEASE, identity, DURATION, clock, lambda: datetime(2026, 1, 1, tzinfo=UTC)
        )


async def _nothing(_: str) -> None:
    pass


async def _away(_: str) -> None:
    raise UnavailableError("lease", 503, "away")


async def _hang(_: str) -> None:
    await asyncio.sleep(1e9)


def now() -> float:
    return asyncio.get_running_loop().time()


def test_the_first_takes_the_lease_and_the_second_waits_for_its_end() -> None:
    async def scenario() -> None:
        server = Server()
        first, second = server.elector("first"), server.elector("second")
        await first.acquire()
        assert first.leads()
        keeper = asyncio.create_task(first.keep())
        waiter = asyncio.create_task(second.acquire())
        await asyncio.sleep(10 * DURATION)
        assert first.leads()
        assert not second.leads()
        assert second.stands_by
        keeper.cancel()
        died = now()
        await waiter
        assert DURATION * 0.75 <= now() - died <= DURATION * 1.15
        assert not first.leads()
        assert server.holder == "second"
        assert server.lease is not None
        assert server.lease["spec"]["leaseTransitions"] == 1

    run(scenario())


def test_of_many_that_begin_at_once_one_leads() -> None:
    async def scenario() -> None:
        server = Server()
        electors = [server.elector(str(number)) for number in range(5)]
        tasks = [asyncio.create_task(elector.acquire()) for elector in electors]
        await asyncio.sleep(0.5 * DURATION)
        assert sum(elector.leads() for elector in electors) == 1
        assert [task.done() for task in tasks].count(True) == 1
        for task in tasks:
            task.cancel()

    run(scenario())


def test_a_released_lease_is_taken_at_once() -> None:
    async def scenario() -> None:
        server = Server()
        first, second = server.elector("first"), server.elector("second")
        await first.acquire()
        waiter = asyncio.create_task(second.acquire())
        await asyncio.sleep(1)
        released = now()
        await first.release()
        assert not first.leads()
        await waiter
        assert now() - released <= 0.11 * DURATION
        await first.release()
        assert server.holder == "second"

    run(scenario())


def test_a_lease_is_released_though_its_last_renewal_was_cut_off() -> None:
    async def scenario() -> None:
        server = Server()
        first = server.elector("first")
        await first.acquire()
        renewed = asyncio.Event()

        async def unanswered(_: str) -> None:
            renewed.set()
            await _hang("patch")

        server.late = unanswered
        keeper = asyncio.create_task(first.keep())
        await renewed.wait()
        keeper.cancel()
        server.late = _nothing
        await first.release()
        assert server.holder is None

    run(scenario())


@pytest.mark.parametrize("fault", [_away, _hang])
def test_who_cannot_renew_stops_before_another_may_begin(
    fault: Callable[[str], Coroutine[None, None, None]],
) -> None:
    async def scenario() -> None:
        server = Server()
        first = server.elector("first")
        await first.acquire()
        acquired = now()
        server.fault = fault
        with pytest.raises(LeaseLostError, match="could not be renewed within 10 s"):
            await first.keep()
        assert not first.leads()
        assert now() - acquired <= GIVES_UP + 0.1

    run(scenario())


def test_a_short_outage_changes_nothing() -> None:
    async def scenario() -> None:
        server = Server()
        first = server.elector("first")
        await first.acquire()
        keeper = asyncio.create_task(first.keep())
        for _ in range(5):
            server.fault = _away
            await asyncio.sleep(GIVES_UP / 2)
            server.fault = _nothing
            await asyncio.sleep(DURATION)
            assert first.leads()
        keeper.cancel()

    run(scenario())


def test_a_lease_that_another_one_holds_is_lost() -> None:
    async def scenario() -> None:
        server = Server()
        first = server.elector("first")
        await first.acquire()
        assert server.lease is not None
        server.version += 1
        server.lease["metadata"]["resourceVersion"] = str(server.version)
        server.lease["spec"]["holderIdentity"] = "thief"
        with pytest.raises(LeaseLostError, match="is held by thief"):
            await first.keep()

    run(scenario())


def test_a_renewal_whose_answer_is_lost_is_no_loss() -> None:
    async def scenario() -> None:
        server = Server()
        first = server.elector("first")

        async def lost_once(_: str) -> None:
            server.late = _nothing
            raise UnavailableError("lease", 0, "connection reset")

        server.late = lost_once
        await first.acquire()
        server.late = lost_once
        keeper = asyncio.create_task(first.keep())
        await asyncio.sleep(DURATION)
        assert first.leads()
        keeper.cancel()

    run(scenario())


def test_a_deleted_lease_is_made_again() -> None:
    async def scenario() -> None:
        server = Server()
        first = server.elector("first")
        await first.acquire()
        keeper = asyncio.create_task(first.keep())
        server.lease = None
        await asyncio.sleep(DURATION)
        assert first.leads()
        assert server.holder == "first"
        keeper.cancel()

    run(scenario())


def test_the_holders_clock_does_not_matter() -> None:
    """Every elector here writes the same time, which never moves; see `Server.elector`."""

    async def scenario() -> None:
        server = Server()
        first, second = server.elector("first"), server.elector("second")
        await first.acquire()
        keeper = asyncio.create_task(first.keep())
        with suppress(TimeoutError):
            await asyncio.wait_for(second.acquire(), 20 * DURATION)
        assert first.leads()
        assert not second.leads()
        keeper.cancel()

    run(scenario())


def test_who_stands_by_outlasts_an_outage_and_says_when_it_is_deaf() -> None:
    async def scenario() -> None:
        server = Server()
        server.fault = _away
        elector = server.elector("first")
        waiter = asyncio.create_task(elector.acquire())
        await asyncio.sleep(200)
        assert elector.ailments() == []
        assert not elector.stands_by
        await asyncio.sleep(200)
        assert "nothing was heard of lease system/operator" in elector.ailments()[0]
        server.fault = _nothing
        await waiter
        assert elector.leads()
        assert elector.ailments() == []

    run(scenario())


def test_the_cost_of_standing_by_and_of_leading_is_small() -> None:
    async def scenario() -> None:
        server = Server()
        first, second = server.elector("first"), server.elector("second")
        await first.acquire()
        tasks = [asyncio.create_task(first.keep()), asyncio.create_task(second.acquire())]
        server.requests = 0
        await asyncio.sleep(10 * DURATION)
        assert server.requests <= 10 * (10 + 5 * 2)
        for task in tasks:
            task.cancel()

    run(scenario())


class Leadership:
    """A process that leads: what it did, and what it was told."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.stop = asyncio.Event()
        self.did: list[str] = []

    async def run(self, identity: str = "first", fail: BaseException | None = None) -> None:
        async def work() -> None:
            self.did.append("works")
            if fail is not None:
                raise fail
            await self.stop.wait()

        def die(error: BaseException) -> None:
            self.did.append(str(error))
            self.stop.set()

        await lead(self.server.elector(identity), self.stop, work, die)


def test_told_to_stop_it_gives_the_lease_up() -> None:
    async def scenario() -> None:
        leadership = Leadership(Server())
        task = asyncio.create_task(leadership.run())
        await asyncio.sleep(3 * DURATION)
        leadership.stop.set()
        await task
        assert leadership.did == ["works"]
        assert leadership.server.holder is None

    run(scenario())


def test_told_to_stop_while_it_stands_by_it_does_nothing() -> None:
    async def scenario() -> None:
        server = Server()
        await server.elector("other").acquire()
        leadership = Leadership(server)
        task = asyncio.create_task(leadership.run())
        await asyncio.sleep(DURATION / 2)
        leadership.stop.set()
        await task
        assert leadership.did == []
        assert server.holder == "other"

    run(scenario())


def test_work_that_fails_gives_the_lease_up() -> None:
    async def scenario() -> None:
        leadership = Leadership(Server())
        with pytest.raises(KubeError, match="away"):
            await leadership.run(fail=UnavailableError("list jobs", 503, "away"))
        assert leadership.server.holder is None

    run(scenario())


def test_a_lost_lease_ends_the_process() -> None:
    async def scenario() -> None:
        leadership = Leadership(Server())
        task = asyncio.create_task(leadership.run())
        await asyncio.sleep(1)
        leadership.server.fault = _away
        await task
        assert leadership.did[0] == "works"
        assert "could not be renewed" in leadership.did[1]

    run(scenario())


def test_an_error_in_the_election_is_not_swallowed() -> None:
    async def broken(_: str) -> None:
        raise ZeroDivisionError

    async def scenario() -> None:
        leadership = Leadership(Server())
        leadership.server.fault = broken
        with pytest.raises(ZeroDivisionError):
            await leadership.run()

    run(scenario())
