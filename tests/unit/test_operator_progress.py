"""The operator reads progress documents as untrusted input, and shows them rounded and bounded."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from detectron_operator import numbers
from detectron_operator.progress import MAX_BYTES, ProgressError, parse
from tests.unit.operator_objects import after, document, verdict

CRDS = Path(__file__).parents[2] / "crds"
SCHEMA = json.loads((CRDS / "progress.schema.json").read_text())
FULL = document(
    progressPercentage=10,
    evaluation={
        "iteration": 90,
        "averagePrecision": 0.123456789,
        "metrics": [{"name": "val/bbox/AP", "value": 0.123456789}],
    },
    lastCheckpoint={
        "iteration": 80,
        "path": "/output/model_0000079.pth",
        "time": "2026-03-01T11:59:00+00:00",
    },
    bestCheckpoint={
        "iteration": 60,
        "path": "/output/model_best.pth",
        "time": "2026-03-01T11:58:00+00:00",
        "metric": "val/bbox/AP",
        "value": 0.23456789,
    },
    work={
        "startTime": "2026-03-01T11:50:00+00:00",
        "trainedIterations": 40,
        "idleSeconds": 0.25,
        "startingSeconds": 9.5,
        "trainingSeconds": 60,
        "evaluatingSeconds": 5,
        "checkpointingSeconds": 1,
        "iterationSecondsP99": 1.75,
    },
    verdict=verdict("Preempted", retryable=True, rank=0, iteration=100),
)


def test_a_full_document() -> None:
    jsonschema.validate(FULL, SCHEMA)
    progress = parse(json.dumps(FULL).encode())
    assert (progress.iteration, progress.max_iterations, progress.progress_percentage) == (100, 1000, 10)
    assert progress.metrics == (("total_loss", 1.23456789), ("lr", 2.5e-05))
    assert progress.evaluation is not None
    assert progress.evaluation.average_precision == 0.123456789
    assert progress.last_checkpoint is not None
    assert progress.last_checkpoint.iteration == 80
    assert progress.verdict is not None
    assert (progress.verdict.reason, progress.verdict.retryable) == ("Preempted", True)
    assert progress.last_updated_time == after(0)
    assert progress.work is not None
    assert (progress.work.trained, progress.work.idle) == (40, timedelta(seconds=0.25))
    assert progress.work.slow_iteration == timedelta(seconds=1.75)


def test_as_status() -> None:
    shown = numbers.merged({}, parse(json.dumps(FULL)))
    assert shown == {
        "iteration": 100,
        "maxIterations": 1000,
        "progressPercentage": 10,
        "progress": "10%",
        "estimatedRemainingSeconds": 3900,
        "eta": "1h5m",
        "metrics": [{"name": "total_loss", "value": "1.23457"}, {"name": "lr", "value": "2.5e-05"}],
        "evaluation": {
            "iteration": 90,
            "averagePrecision": "0.123457",
            "metrics": [{"name": "val/bbox/AP", "value": "0.123457"}],
        },
        "lastCheckpoint": {
            "iteration": 80,
            "path": "/output/model_0000079.pth",
            "time": "2026-03-01T11:59:00Z",
        },
        "bestCheckpoint": {
            "iteration": 60,
            "path": "/output/model_best.pth",
            "time": "2026-03-01T11:58:00Z",
            "metric": "val/bbox/AP",
            "value": "0.234568",
        },
        "lastUpdatedTime": "2026-03-01T12:00:00Z",
    }


def test_what_a_document_does_not_say_stays_but_an_eta_does_not() -> None:
    before = numbers.merged({}, parse(json.dumps(FULL)))
    starting = document(1, 80, phase="Starting", metrics=[])
    del starting["estimatedRemainingSeconds"]
    merged = numbers.merged(before, parse(json.dumps(starting)))
    assert merged["iteration"] == 80
    assert merged["metrics"] == before["metrics"]
    assert merged["evaluation"] == before["evaluation"]
    assert "eta" not in merged
    assert "estimatedRemainingSeconds" not in merged


def test_the_percentage_is_of_completed_iterations() -> None:
    assert numbers.merged({}, parse(json.dumps(document(iteration=999))))["progress"] == "99%"
    assert numbers.merged({}, parse(json.dumps(document(iteration=2000))))["progress"] == "100%"
    assert "progress" not in numbers.merged({}, parse(json.dumps(document(maxIterations=0))))


def test_the_longest_name_reaches_the_status() -> None:
    """The schemas of the progress document and of the status agree, so nothing is left out between them."""
    crd = yaml.safe_load((CRDS / "detectrontrainingjobs.yaml").read_text())
    status = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    bound = SCHEMA["$defs"]["metric"]["properties"]["name"]["maxLength"]
    assert status["metrics"]["items"]["properties"]["name"]["maxLength"] == bound
    assert status["evaluation"]["properties"]["metrics"]["items"]["properties"]["name"]["maxLength"] >= bound
    reported = document(metrics=[{"name": "n" * bound, "value": 2.0}])
    assert numbers.merged({}, parse(json.dumps(reported)))["metrics"] == [{"name": "n" * bound, "value": "2"}]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59, "59s"), (60, "1m"), (200, "3m20s"), (3900, "1h5m"), (7200, "2h"), (90061, "1d1h")],
)
def test_durations(seconds: int, text: str) -> None:
    assert numbers.duration(seconds) == text


@given(st.integers(min_value=0, max_value=2**53))
def test_durations_fit_their_column(seconds: int) -> None:
    assert len(numbers.duration(seconds)) <= 16


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "Expecting value"),
        (b"\xff", "decode"),
        (b"[]", "must be an object"),
        (b"[" * 50_000, "recursion"),
        (b" " * (MAX_BYTES + 1), "more than a progress document has"),
        (json.dumps(document(version=2)), "version: is 2"),
        (json.dumps(document(phase="Dancing")), "phase"),
        (json.dumps(document(iteration=-1)), "iteration"),
        (json.dumps(document(iteration=10**30)), "iteration"),
        (json.dumps(document() | {"iteration": 1.5}), "iteration"),
        (json.dumps(document(progressPercentage=101)), "progressPercentage"),
        (json.dumps(document(metrics=[{"name": "a", "value": 1}] * 2)), "twice"),
        (json.dumps(document(metrics=[{"name": str(i), "value": 1} for i in range(17)])), "at most 16"),
        (json.dumps(document(metrics=[{"name": "a", "value": "1"}])), "must be a number"),
        (json.dumps(document(metrics=[{"name": "a", "value": float("nan")}])), "NaN"),
        (json.dumps(document(metrics=[{"name": "a", "value": 10**400}])), "too large"),
        (json.dumps(document()).replace("1.23456789", "1e999"), "finite"),
        (json.dumps(document(lastUpdatedTime="yesterday")), "is not a time"),
        (json.dumps(document(lastUpdatedTime="2026-03-01T12:00:00")), "is not a time"),
        (json.dumps(document(lastUpdatedTime="0001-01-01T00:00:00+14:00")), "is not a time"),
        (json.dumps(FULL | {"work": FULL["work"] | {"idleSeconds": -1}}), "work.idleSeconds: is -1"),
        (json.dumps(FULL | {"work": FULL["work"] | {"trainingSeconds": 1e300}}), "work.trainingSeconds"),
        (json.dumps(FULL | {"work": {}}), "work.startTime: is missing"),
        (json.dumps(document(verdict={"reason": "a b", "message": "", "retryable": True})), "not a word"),
        (json.dumps(document(verdict={"reason": "A", "message": ""})), "verdict.retryable: is missing"),
    ],
)
def test_what_is_no_document(raw: bytes | str, words: str) -> None:
    with pytest.raises(ProgressError, match=words):
        parse(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(FULL)), JSON)
def test_nonsense_in_any_field_is_an_error_or_shown(field: str, nonsense: Any) -> None:
    try:
        shown = numbers.merged({}, parse(json.dumps(FULL | {field: nonsense})))
    except ProgressError:
        return
    assert shown.keys() <= numbers.FIELDS


@given(st.binary(max_size=200))
def test_any_bytes_are_an_error(raw: bytes) -> None:
    with pytest.raises(ProgressError):
        parse(raw)
