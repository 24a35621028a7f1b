"""The alerts of the cluster tests are the chart's, but for their durations."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from dashboards.__main__ import FOLDER
from tests.cluster.hurried import hurried

GROUPS: list[dict[str, Any]] = yaml.safe_load((FOLDER.parent / "rules.yaml").read_text())["groups"]


def rules(groups: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def masked(expr: str) -> str:
    """An expression with a mark in the place of each duration."""
    windows = re.sub(r"(\[|offset )\w+", r"\1?", expr)
    return re.sub(r"(_timestamp_seconds [<>] )\d+", r"\1?", windows)


def test_durations_are_a_fraction() -> None:
    changed = rules(hurried(GROUPS, 30))
    stalled = changed["DetectronJobStalled"]
    assert "time() - detectron_job_last_progress_timestamp_seconds > 30)" in stalled["expr"]
    assert stalled["for"] == "2s"
    assert changed["DetectronJobRestartLoop"]["expr"] == "changes(detectron_job_attempt[60s]) >= 3"
    assert "detectron_job_completion_timestamp_seconds < 120" in changed["DetectronJobFailed"]["expr"]
    assert "offset 120s" in changed["DetectronJobNonFiniteLoss"]["expr"]
    assert "[2880s]" in changed["DetectronJobPrecisionDropped"]["expr"]


def test_nothing_else_is_different() -> None:
    before, after = rules(GROUPS), rules(hurried(GROUPS, 30))
    assert before.keys() == after.keys()
    for name, rule in before.items():
        assert masked(after[name]["expr"]) == masked(rule["expr"])
        assert after[name]["expr"] != rule["expr"] or "for" in rule or masked(rule["expr"]) == rule["expr"]
        rest = {key: value for key, value in rule.items() if key not in ("expr", "for")}
        assert rest.items() <= after[name].items()
        assert ("for" in rule) == ("for" in after[name])


def test_no_duration_is_left_as_it_was() -> None:
    exprs = [masked(rule["expr"]) for rule in rules(GROUPS).values()]
    assert [expr for expr in exprs if re.search(r"\b\d+[smhd]\b", expr)] == []
    numbers = [int(number) for expr in exprs for number in re.findall(r"\b\d+\b", expr)]
    assert max(numbers) < 60, "a number that is a duration in a form that is not known here"


def test_what_cannot_be_divided_is_refused() -> None:
    with pytest.raises(ValueError, match="900 s has no whole number of seconds in 1/7 of it"):
        hurried(GROUPS, 7)
