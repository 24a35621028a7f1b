"""What following the progress of many jobs costs: `python -m bench.polling --jobs 1000`.

The operator's poller, with its default period, asks as many pods as there are jobs. They are addresses of the
loopback interface, behind which a process of its own serves documents as trainers write them, each a new one
at every look. The CPU time is that of the asking process alone; connections are kept, as between pods.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

import uvloop
from aiohttp import web

from bench import report
from detectron_operator.engine.poller import Poller
from detectron_operator.engine.reports import Reports
from detectron_operator.kube.objects import Key
from detectron_operator.metrics import Metrics
from detectron_operator.settings import Settings

DEFAULTS = Settings(trainer_image="")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.polling", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    chosen = parser.parse_args(arguments)
    print("  ".join(f"{name}: {value}" for name, value in report.machine().items()))
    ours, theirs = multiprocessing.Pipe()
    pods = multiprocessing.Process(target=serve, args=(theirs,), daemon=True)
    pods.start()
    try:
        port = ours.recv()
        for number in range(1, chosen.rounds + 1):
            cpu, looks, news = uvloop.run(poll(port, chosen.jobs, chosen.seconds))
            rate, due, each = looks / chosen.seconds, chosen.jobs / DEFAULTS.poll_period, cpu / looks
            print(
                f"round {number}: {rate:.0f} looks and {news / chosen.seconds:.0f} news a second, "
                f"{1e3 * each:.3f} ms of CPU a look; {100 * due * each:.1f} % of a core for the {due:.0f} due"
            )
    finally:
        pods.terminate()
        pods.join()


async def poll(port: int, jobs: int, seconds: float) -> tuple[float, int, int]:
    """CPU seconds, answered looks and news of a time in which every job is followed."""
    clock = asyncio.get_running_loop().time
    metrics, news = Metrics("bench"), [0]

    def note(_: Key) -> None:
        news[0] += 1

    reports = Reports(DEFAULTS.progress_period, clock, note, metrics)
    poller = Poller(DEFAULTS.poll_period, port, reports.take, reports.lose, clock)
    for number in range(jobs):
        host = f"http://127.1.{number // 250}.{number % 250 + 1}"
        poller.follow(Key("bench", f"job-{number}"), host)
    running = asyncio.create_task(poller.run())
    await asyncio.sleep(2 * DEFAULTS.poll_period)
    before, cpu, news[0] = read(metrics), time.process_time(), 0
    await asyncio.sleep(seconds)
    looks, used = read(metrics) - before, time.process_time() - cpu
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return used, looks, news[0]


def read(metrics: Metrics) -> int:
    """How many documents were read so far."""
    name = "detectron_operator_progress_polls_total"
    return int(metrics.registry.get_sample_value(name, {"result": "read"}) or 0)


def serve(ready: Connection) -> None:
    """Serve documents on every address of this machine; tells the port."""
    asyncio.run(_serve(ready))


async def _serve(ready: Connection) -> None:
    iteration = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal iteration
        iteration += 1
        return web.Response(body=json.dumps(document(iteration)).encode())

    app = web.Application()
    app.router.add_get("/progress", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 0).start()
    ready.send(runner.addresses[0][1])
    await asyncio.Event().wait()


def document(iteration: int) -> dict[str, object]:
    """Such as a Mask R-CNN's, in the middle of its training."""
    losses = ("total_loss", "loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc", "lr")
    return {
        "version": 1,
        "phase": "Training",
        "attempt": 0,
        "worldSize": 8,
        "iteration": iteration,
        "maxIterations": 10_000_000,
        "progressPercentage": 0,
        "estimatedRemainingSeconds": 1000,
        "metrics": [{"name": name, "value": 0.123456789} for name in losses],
        "lastCheckpoint": {
            "iteration": 1,
            "path": "/output/a/model_0000001.pth",
            "time": "2026-01-01T00:00:00Z",
        },
        "lastUpdatedTime": "2026-01-01T00:00:00.000Z",
    }


if __name__ == "__main__":
    main()
