"""Values as a progress document may hold them: finite, printable, bounded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

Document = Mapping[str, object]
_NAME_LENGTH = 128


def metric_list(values: Mapping[str, float], count: int) -> list[dict[str, object]]:
    """At most `count` of `values`, without those that the schema cannot say."""
    # By name, because the status lists them by unique names.
    named = {printable(name): float(value) for name, value in values.items()}
    usable: list[dict[str, object]] = [
        {"name": name, "value": value}
        for name, value in named.items()
        if 0 < len(name) <= _NAME_LENGTH and math.isfinite(value)
    ]
    return usable[:count]


def metric_mapping(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What `metric_list` was made of."""
    return {str(metric["name"]): metric["value"] for metric in metrics}


def printable(text: str) -> str:
    """`text` as UTF-8 has it: paths may hold bytes that are none, which Python carries as surrogates."""
    return text.encode(errors="replace").decode()


def timestamp(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def whole_seconds(duration: float | None) -> int | None:
    return int(duration) if duration is not None and math.isfinite(duration) and duration >= 0 else None


def without_nones(document: Mapping[str, object | None]) -> dict[str, object]:
    return {key: value for key, value in document.items() if value is not None}
