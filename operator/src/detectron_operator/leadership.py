"""Standing by, leading, and stopping: when the engine may work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

from detectron_operator.kube.lease import Elector


async def lead(
    elector: Elector,
    stop: asyncio.Event,
    work: Callable[[], Awaitable[None]],
    die: Callable[[BaseException], None],
) -> None:
    """Stand by until the Lease is ours or `stop` is set; work; then give the Lease up.

    Args:
        work: returns once `stop` is set and everything under way is finished.
        die: ends the process at once. Called when the Lease is lost while work goes on: another operator may
            be at work already, and there is nothing to save.
    """
    if not await _won(elector.acquire(), stop):
        return
    keeper = asyncio.create_task(elector.keep(), name="lease keeper")

    def lost(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            die(task.exception() or RuntimeError("the lease is no longer kept"))

    keeper.add_done_callback(lost)
    try:
        await work()
    finally:
        keeper.cancel()
        await asyncio.wait([keeper])
        await elector.release()


async def _won(acquired: Coroutine[None, None, None], stop: asyncio.Event) -> bool:
    """Wait for the one or the other; both at once count as won, for then the Lease is to be given up."""
    tasks = [asyncio.create_task(acquired), asyncio.create_task(stop.wait())]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
    return tasks[0] in done
