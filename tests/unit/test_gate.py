"""Requests under way at once: so many and no more, the most urgent first."""

import asyncio

import pytest

from detectron_operator.kube.gate import Gate, Priority
from tests.unit.virtual_time import run


class Traffic:
    """Requests that take a second each."""

    def __init__(self, width: int) -> None:
        self.gate = Gate(width)
        self.under_way = self.most = 0
        self.order: list[str] = []

    async def request(self, name: str, priority: Priority) -> None:
        async with self.gate.passing(priority):
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            self.order.append(name)
            try:
                await asyncio.sleep(1)
            finally:
                self.under_way -= 1

    def start(self, name: str, priority: Priority = Priority.ACT) -> asyncio.Task[None]:
        return asyncio.create_task(self.request(name, priority))


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
