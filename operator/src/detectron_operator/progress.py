"""The trainer's progress document, read as untrusted input: bounded in size, depth, types and times.

Its schema is crds/progress.schema.json.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

from detectron_operator import shape
from detectron_operator.shape import MISSING, ShapeError

MAX_BYTES = 65536
PHASES = ("Starting", "Training", "Evaluating", "Checkpointing", "Finished")
_COUNT = 2**53
_LONGEST = 10**9
"""Seconds, some thirty years."""


class ProgressError(ValueError):
    """What a pod said is no progress document; the message names the field."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """AP by `dataset/task/kind` and the one for the printer column, as ratios."""

    iteration: int
    average_precision: float | None
    metrics: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The newest checkpoint and the completed iterations it holds."""

    iteration: int
    path: str
    time: datetime


@dataclass(frozen=True, kw_only=True)
class BestCheckpoint(Checkpoint):
    """The checkpoint whose evaluation had the best `value` of `metric`."""

    metric: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Work:
    """What rank 0's process did since `start_time`, which tells it from another process.

    `trained` counts iterations, repeated ones too; `idle` is the time since it last got on. `training` is the
    time of complete iterations, and `slow_iteration` their 99th percentile, None at first.
    """

    start_time: datetime
    trained: int
    idle: timedelta
    starting: timedelta
    training: timedelta
    evaluating: timedelta
    checkpointing: timedelta
    slow_iteration: timedelta | None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Why a run ended."""

    reason: str
    message: str
    retryable: bool
    rank: int | None
    iteration: int | None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A progress document; `iteration` counts completed iterations."""

    phase: str
    attempt: int
    world_size: int
    iteration: int
    max_iterations: int | None
    progress_percentage: int | None
    estimated_remaining_seconds: int | None
    metrics: tuple[tuple[str, float], ...]
    evaluation: Evaluation | None
    last_checkpoint: Checkpoint | None
    best_checkpoint: BestCheckpoint | None
    last_updated_time: datetime
    work: Work | None
    verdict: Verdict | None


def parse(raw: bytes | str) -> Progress:
    """The document in `raw`, UTF-8 JSON of at most MAX_BYTES; ProgressError where it is none."""
    if len(raw) > MAX_BYTES:
        raise ProgressError(f"{len(raw)} bytes are more than a progress document has")
    try:
        return _document(shape.mapping(json.loads(raw, parse_constant=_refuse_constant), "document"))
    except (ValueError, RecursionError) as error:
        raise ProgressError(str(error)) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ShapeError("document", f"{name} is not JSON")


def _document(raw: Mapping[str, object]) -> Progress:
    if raw.get("version") != 1:
        raise ShapeError("version", f"is {raw.get('version')!r}, this operator reads version 1")
    phase = shape.text(raw.get("phase", MISSING), "phase", at_most=32)
    if phase not in PHASES:
        raise ShapeError("phase", f"is {phase!r}, must be one of {', '.join(PHASES)}")
    return Progress(
        phase=phase,
        attempt=_count(raw, "attempt"),
        world_size=_count(raw, "worldSize"),
        iteration=_count(raw, "iteration"),
        max_iterations=_optional_count(raw, "maxIterations"),
        progress_percentage=_optional_count(raw, "progressPercentage", at_most=100),
        estimated_remaining_seconds=_optional_count(raw, "estimatedRemainingSeconds"),
        metrics=_metrics(raw, "metrics", at_most=16),
        evaluation=_evaluation(shape.mapping(raw["evaluation"], "evaluation"))
        if "evaluation" in raw
        else None,
        last_checkpoint=(
            _checkpoint(shape.mapping(raw["lastCheckpoint"], "lastCheckpoint"))
            if "lastCheckpoint" in raw
            else None
        ),
        best_checkpoint=(
            _best_checkpoint(shape.mapping(raw["bestCheckpoint"], "bestCheckpoint"))
            if "bestCheckpoint" in raw
            else None
        ),
        last_updated_time=shape.time(raw.get("lastUpdatedTime", MISSING), "lastUpdatedTime"),
        work=_work(shape.mapping(raw["work"], "work")) if "work" in raw else None,
        verdict=_verdict(shape.mapping(raw["verdict"], "verdict")) if "verdict" in raw else None,
    )


def _evaluation(raw: Mapping[str, object]) -> Evaluation:
    average = raw.get("averagePrecision")
    return Evaluation(
        iteration=_count(raw, "iteration"),
        average_precision=None if average is None else _number(average, "evaluation.averagePrecision"),
        metrics=_metrics(raw, "metrics", at_most=24),
    )


def _checkpoint(raw: Mapping[str, object]) -> Checkpoint:
    return Checkpoint(
        iteration=_count(raw, "iteration"),
        path=shape.text(raw.get("path", MISSING), "lastCheckpoint.path", at_most=512),
        time=shape.time(raw.get("time", MISSING), "lastCheckpoint.time"),
    )


def _best_checkpoint(raw: Mapping[str, object]) -> BestCheckpoint:
    return BestCheckpoint(
        iteration=_count(raw, "iteration"),
        path=shape.text(raw.get("path", MISSING), "bestCheckpoint.path", at_most=512),
        time=shape.time(raw.get("time", MISSING), "bestCheckpoint.time"),
        metric=shape.text(raw.get("metric", MISSING), "bestCheckpoint.metric", at_most=128),
        value=_number(raw.get("value", MISSING), "bestCheckpoint.value"),
    )


def _work(raw: Mapping[str, object]) -> Work:
    return Work(
        start_time=shape.time(raw.get("startTime", MISSING), "work.startTime"),
        trained=_count(raw, "trainedIterations"),
        idle=_duration(raw, "idleSeconds"),
        starting=_duration(raw, "startingSeconds"),
        training=_duration(raw, "trainingSeconds"),
        evaluating=_duration(raw, "evaluatingSeconds"),
        checkpointing=_duration(raw, "checkpointingSeconds"),
        slow_iteration=_duration(raw, "iterationSecondsP99") if "iterationSecondsP99" in raw else None,
    )


def _duration(raw: Mapping[str, object], key: str) -> timedelta:
    seconds = _number(raw.get(key, MISSING), f"work.{key}")
    if not 0 <= seconds <= _LONGEST:
        raise ShapeError(f"work.{key}", f"is {seconds:.6g}, must lie in 0..{_LONGEST}")
    return timedelta(seconds=seconds)


def _verdict(raw: Mapping[str, object]) -> Verdict:
    reason = shape.text(raw.get("reason", MISSING), "verdict.reason", at_most=64)
    if not (reason.isascii() and reason.isalpha()):
        raise ShapeError("verdict.reason", f"{reason!r} is not a word")
    return Verdict(
        reason=reason,
        message=shape.text(raw.get("message", MISSING), "verdict.message", at_most=4096),
        retryable=shape.boolean(raw.get("retryable", MISSING), "verdict.retryable"),
        rank=_optional_count(raw, "rank"),
        iteration=_optional_count(raw, "iteration"),
    )


def _metrics(raw: Mapping[str, object], key: str, *, at_most: int) -> tuple[tuple[str, float], ...]:
    found: dict[str, float] = {}
    for i, item in enumerate(shape.sequence(raw.get(key, ()), key, at_most=at_most)):
        metric = shape.mapping(item, f"{key}[{i}]")
        name = shape.text(metric.get("name", MISSING), f"{key}[{i}].name", at_most=128)
        if not name or name in found:
            raise ShapeError(f"{key}[{i}].name", f"{name!r} is empty or stands there twice")
        found[name] = _number(metric.get("value", MISSING), f"{key}[{i}].value")
    return tuple(found.items())


def _number(value: object, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ShapeError(path, "must be a number")
    try:
        number = float(value)
    except OverflowError as error:
        raise ShapeError(path, "is too large") from error
    if not math.isfinite(number):
        raise ShapeError(path, "must be finite")
    return number


def _count(raw: Mapping[str, object], key: str) -> int:
    return shape.integer(raw.get(key, MISSING), key, at_least=0, at_most=_COUNT)


def _optional_count(raw: Mapping[str, object], key: str, *, at_most: int = _COUNT) -> int | None:
    return shape.integer(raw[key], key, at_least=0, at_most=at_most) if key in raw else None
