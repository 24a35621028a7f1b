"""The share of its time that a run waits for its images: near 0 where the GPUs are kept busy."""

from __future__ import annotations

from detectron2.utils.events import EventStorage


def data_wait_ratio(storage: EventStorage, window_size: int) -> float | None:
    """`data_time` over `time`, both over the last `window_size` iterations; None where they are not put.

    From sums and not from medians: one iteration in ten that waits long starves a GPU as well.
    """
    histories = storage.histories()
    if "time" not in histories or "data_time" not in histories:
        return None
    waited, took = (histories[name].avg(window_size) for name in ("data_time", "time"))
    return min(1.0, max(0.0, float(waited / took))) if took > 0 else None
