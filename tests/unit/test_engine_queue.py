"""The work queue: no key with two workers, nothing missed, retries that spread."""

import asyncio
import random

from hypothesis import given
from hypothesis import strategies as st

from detectron_operator.engine.queue import FIRST_BACKOFF, LONGEST_BACKOFF, WorkQueue
from detectron_operator.kube.objects import Key
from tests.unit.virtual_time import run

A, B = Key("default", "a"), Key("default", "b")


def queue(jitter: float = 1.0) -> WorkQueue:
    return WorkQueue(asyncio.get_running_loop().time, lambda: jitter)


@given(
    adds=st.lists(st.tuples(st.integers(0, 3), st.floats(0, 5)), max_size=40),
    seed=st.integers(0, 1000),
)
def test_every_add_is_worked_on_afterwards_and_never_by_two(adds: list[tuple[int, float]], seed: int) -> None:
    chance = random.Random(seed)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        keys = queue()
        begun: dict[Key, float] = {}
        held: set[Key] = set()

        async def work() -> None:
            while True:
                key = await keys.get()
                assert key not in held
                held.add(key)
                begun[key] = loop.time()
                await asyncio.sleep(chance.uniform(0, 2))
                held.remove(key)
                keys.done(key)

        workers = [asyncio.create_task(work()) for _ in range(3)]
        added: dict[Key, float] = {}
        for number, pause in adds:
            await asyncio.sleep(pause)
            key = Key("default", str(number))
            added[key] = loop.time()
            keys.add(key)
        await asyncio.sleep(100)
        assert len(keys) == 0
        assert not held
        assert all(begun[key] >= at for key, at in added.items())
        for worker in workers:
            worker.cancel()
        assert all(
            isinstance(outcome, asyncio.CancelledError)
            for outcome in await asyncio.gather(*workers, return_exceptions=True)
        )

    run(scenario())


def test_several_adds_are_one_piece_of_work() -> None:
    async def scenario() -> None:
        keys = queue()
        for key in (A, B, A, A):
            keys.add(key)
        assert len(keys) == 2
        assert [await keys.get(), await keys.get()] == [A, B]

    run(scenario())


def test_an_add_during_the_work_is_another_piece_of_work() -> None:
    async def scenario() -> None:
        keys = queue()
        keys.add(A)
        await keys.get()
        keys.add(A)
        keys.add(B)
        assert await keys.get() == B
        keys.done(A)
        assert await keys.get() == A

    run(scenario())


def test_of_several_delays_the_earliest_counts() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        keys = queue()
        for seconds in (30, 10, 20):
            keys.add_after(A, seconds)
        assert await keys.get() == A
        assert loop.time() == 10
        keys.done(A)
        await asyncio.sleep(60)
        assert len(keys) == 0

    run(scenario())


def test_retries_double_up_to_a_bound_and_begin_anew_after_a_success() -> None:
    async def scenario() -> None:
        keys = queue(jitter=1.0)
        assert [keys.retry(A) for _ in range(4)] == [0.5, 1.0, 2.0, 4.0]
        assert [keys.retry(A) for _ in range(2000)][-1] == LONGEST_BACKOFF
        keys.succeeded(A)
        assert keys.retry(A) == FIRST_BACKOFF

    run(scenario())


def test_what_met_a_change_is_tried_at_once_and_then_less_and_less_often() -> None:
    async def scenario() -> None:
        loop, keys, times = asyncio.get_running_loop(), queue(), []
        keys.add(A)
        for tried in range(4):
            await keys.get()
            times.append(loop.time())
            if tried == 2:
                keys.succeeded(A)
                keys.add(A)
            else:
                keys.again(A)
            keys.done(A)
        assert times == [0, 0, FIRST_BACKOFF, FIRST_BACKOFF]

    run(scenario())


def test_retries_spread_over_half_their_delay() -> None:
    async def scenario() -> None:
        assert queue(jitter=0.0).retry(A) == FIRST_BACKOFF / 2

    run(scenario())


def test_a_retry_waits_as_long_as_the_server_asks() -> None:
    async def scenario() -> None:
        keys = queue()
        assert keys.retry(A, at_least=7) == 7 + FIRST_BACKOFF
        await keys.get()
        assert asyncio.get_running_loop().time() == 7 + FIRST_BACKOFF

    run(scenario())


def test_news_wait_as_long_as_the_server_asks_too() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        keys = queue()
        keys.add(A)
        await keys.get()
        keys.add(A)
        keys.retry(A, at_least=7)
        keys.done(A)
        assert len(keys) == 0
        await asyncio.sleep(3)
        keys.add(A)
        await keys.get()
        assert loop.time() == 7
        keys.succeeded(A)
        keys.done(A)
        await asyncio.sleep(60)
        assert len(keys) == 0

    run(scenario())


def test_news_do_not_wait_for_a_retry_that_nobody_asked_to_delay() -> None:
    async def scenario() -> None:
        keys = queue()
        keys.retry(A)
        keys.add(A)
        await keys.get()
        assert asyncio.get_running_loop().time() == 0

    run(scenario())


def test_age_is_that_of_the_oldest_waiting_or_in_work() -> None:
    async def scenario() -> None:
        keys = queue()
        assert keys.oldest_age == 0
        keys.add(A)
        await asyncio.sleep(3)
        keys.add(B)
        assert keys.oldest_age == 3
        await keys.get()
        await asyncio.sleep(5)
        assert keys.oldest_age == 5
        keys.done(A)
        await keys.get()
        keys.done(B)
        assert keys.oldest_age == 0

    run(scenario())
