"""What follows from the end of an attempt: rules of the job before our own defaults."""

from __future__ import annotations

from typing import Any

import pytest

from detectron_operator.api import SpecError, parse
from detectron_operator.api.failure_policy import Rule
from detectron_operator.ending import Ending, why_ended
from detectron_operator.observed import Pod
from tests.unit.operator_objects import START, failed, pod, raw_job, suspended


def rules(*listed: dict[str, Any]) -> tuple[Rule, ...]:
    policy = suspended(False) | {"failurePolicy": {"rules": list(listed)}}
    return parse(raw_job(runPolicy=policy)).spec.run_policy.failure_rules


def ended(*pods: Pod) -> Ending:
    """The cause, where one that still runs shows that another is gone."""
    gone = [1] if pods[0].alive and len(pods) == 1 else []
    found = why_ended("train", 0, pods, ran=pods[0].alive, gone=gone, now=START)
    assert found is not None
    return found


KILLED = pod(0, 1, "Failed", terminated={"exitCode": 137, "reason": "Error"})
EVICTED = pod(0, 1, "Failed", conditions=[{"type": "DisruptionTarget", "status": "True"}])
OUT_OF_MEMORY = failed(0, reason="OutOfMemory", retryable=False)
LOST = failed(0, reason="ProcessFailed", message="connection closed by peer")


@pytest.mark.parametrize(
    ("pods", "action"),
    [
        pytest.param([OUT_OF_MEMORY, failed(1)], "Fail", id="final verdict"),
        pytest.param([LOST, KILLED], "Restart", id="killed"),
        pytest.param([LOST, EVICTED], "RestartWithoutCounting", id="evicted"),
        pytest.param([pod(0, 0)], "RestartWithoutCounting", id="gone"),
    ],
)
def test_without_rules(pods: list[Pod], action: str) -> None:
    assert ended(*pods).under(()).action == action


@pytest.mark.parametrize(
    ("pods", "rule"),
    [
        pytest.param([OUT_OF_MEMORY], {"onReasons": ["NonFiniteLoss", "OutOfMemory"]}, id="verdict"),
        pytest.param([KILLED], {"onSignals": ["SIGKILL"]}, id="signal"),
        pytest.param([KILLED], {"onExitCodes": [3, 137]}, id="exit code"),
        pytest.param([EVICTED], {"onPodConditions": ["DisruptionTarget"]}, id="condition"),
        pytest.param([pod(0, 0)], {"onReasons": ["PodDeleted"]}, id="gone"),
        pytest.param([KILLED], {"onReasons": ["ProcessFailed"], "onExitCodes": [137]}, id="both"),
    ],
)
@pytest.mark.parametrize("action", ["Fail", "Restart", "RestartWithoutCounting"])
def test_a_rule_decides_what_it_matches(pods: list[Pod], rule: dict[str, Any], action: str) -> None:
    assert ended(*pods).under(rules({"action": action, **rule})).action == action


@pytest.mark.parametrize(
    "rule",
    [
        {"onReasons": ["OutOfMemory"]},
        {"onSignals": ["SIGSEGV"]},
        {"onExitCodes": [1]},
        {"onPodConditions": ["DisruptionTarget"]},
        {"onReasons": ["ProcessFailed"], "onExitCodes": [1]},
    ],
)
def test_and_nothing_else(rule: dict[str, Any]) -> None:
    assert ended(KILLED).under(rules({"action": "Fail", **rule})).action == "Restart"


def test_the_first_match_wins() -> None:
    listed = rules(
        {"action": "Fail", "onReasons": ["OutOfMemory"]},
        {"action": "RestartWithoutCounting", "onExitCodes": [137]},
        {"action": "Fail", "onSignals": ["SIGKILL"]},
    )
    assert ended(KILLED).under(listed).action == "RestartWithoutCounting"


def test_a_rule_speaks_of_the_cause_and_not_of_what_it_did_to_the_others() -> None:
    broken = failed(0, reason="ProcessFailed")
    listed = rules({"action": "Fail", "onReasons": ["ProcessFailed"]})
    assert ended(broken, EVICTED).under(listed).action == "RestartWithoutCounting"


@pytest.mark.parametrize(
    ("code", "signal"),
    [
        (137, "SIGKILL"),
        (139, "SIGSEGV"),
        (143, "SIGTERM"),
        (128 + 40, "SIG40"),
        (1, None),
        (128, None),
        (255, None),
    ],
)
def test_the_signal_is_in_the_record(code: int, signal: str | None) -> None:
    record = ended(pod(0, 1, "Failed", terminated={"exitCode": code, "reason": "Error"})).record()
    assert record["exitCode"] == code
    assert record.get("signal") == signal


def test_a_word_that_is_none_is_no_reason() -> None:
    lying = pod(0, 1, "Failed", terminated={"exitCode": 1, "reason": "§$% 1"})
    assert ended(lying).reason == "ProcessFailed"


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ({"onReasons": ["A"]}, "action"),
        ({"action": "Retry", "onReasons": ["A"]}, "action"),
        ({"action": "Fail", "onExitCodes": ["1"]}, "onExitCodes"),
        ({"action": "Fail", "onExitCodes": [256]}, "onExitCodes"),
        ({"action": "Fail", "onSignals": "SIGKILL"}, "onSignals"),
    ],
)
def test_a_rule_that_cannot_be_read_is_named(rule: dict[str, Any], path: str) -> None:
    with pytest.raises(SpecError) as error:
        rules({"action": "Fail", "onReasons": ["A"]}, rule)
    assert error.value.path.startswith(f"spec.runPolicy.failurePolicy.rules[1].{path}")
