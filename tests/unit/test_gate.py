"""Requests under way at once: so many and no more, the most urgent first."""

import asyncio

import pytest

from detectron_operator.kube.gate import SHARE, Gate, Priority
from tests.unit.virtual_time import run


class Traffic:
    """Requests that take a second each."""

    def __init__(self, width: int) -> None:
        self.gate = Gate(width)
        self.under_way = self.most = 0
        self.order: list[str] = []

    async def request(self, name: str, priority: Priority, sender: str | None) -> None:
        async with self.gate.passing(priority, sender):
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            self.order.append(name)
            try:
                await asyncio.sleep(1)
            finally:
                self.under_way -= 1

    def start(
        self, name: str, priority: Priority = Priority.ACT, sender: str | None = None
    ) -> asyncio.Task[None]:
        return asyncio.create_task(self.request(name, priority, sender), name=name)


def test_no_more_than_its_width_pass_at_once() -> None:
    async def scenario() -> None:
        traffic = Traffic(3)
        await asyncio.gather(*(traffic.start(str(number)) for number in range(10)))
        assert traffic.most == 3
        assert traffic.order == [str(number) for number in range(10)]

    run(scenario())


def test_of_those_that_wait_the_most_urgent_goes_next() -> None:
    async def scenario() -> None:
        traffic = Traffic(1)
        tasks = [
            traffic.start("first"),
            traffic.start("event", Priority.REMARK),
            traffic.start("status", Priority.TELL),
            traffic.start("pod"),
            traffic.start("other pod"),
        ]
        await asyncio.gather(*tasks)
        assert traffic.order == ["first", "pod", "other pod", "status", "event"]

    run(scenario())


def test_of_many_requests_of_one_sender_a_share_goes_before_those_of_others() -> None:
    async def scenario() -> None:
        traffic = Traffic(1)
        large = [traffic.start(f"large {number}", sender="large") for number in range(3 * SHARE + 1)]
        await asyncio.sleep(0.5)
        small = traffic.start("small", sender="small")
        await asyncio.gather(*large, small)
        # The first passes at once; a share waits before the small one, and the rest after it.
        assert traffic.order.index("small") == 1 + SHARE
        assert [name for name in traffic.order if name != "small"] == [task.get_name() for task in large]

    run(scenario())


def test_a_large_sender_gets_its_turn_however_many_small_ones_come() -> None:
    async def scenario() -> None:
        traffic = Traffic(1)
        large = [traffic.start(f"large {number}", sender="large") for number in range(1 + 2 * SHARE)]
        small = []
        for number in range(5 * SHARE):
            small.append(traffic.start(f"small {number}", sender=f"small {number}"))
            await asyncio.sleep(1)
        await asyncio.gather(*large, *small)
        # Each share waits for those who came during the one before it, and for nobody who came later.
        assert traffic.order.index(f"large {2 * SHARE}") <= 3 * SHARE + 1

    run(scenario())


@pytest.mark.parametrize("moment", [0.5, 1.0])
def test_one_that_gives_up_takes_no_room(moment: float) -> None:
    """While it waits, and at the very moment at which its turn comes."""

    async def scenario() -> None:
        traffic = Traffic(1)
        first, second, third = (traffic.start(name) for name in ("first", "second", "third"))
        await asyncio.sleep(moment)
        second.cancel()
        await asyncio.wait([first, second, third])
        assert "third" in traffic.order
        assert second.cancelled()
        await traffic.start("fourth")
        assert traffic.most == 1

    run(scenario())
