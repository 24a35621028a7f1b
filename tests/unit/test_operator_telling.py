"""Every word is told where docs/reasons.md says, and nowhere else: conditions, failure, events."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import detectron_operator
from detectron_operator import reasons
from detectron_operator.api import SpecError
from detectron_operator.observed import Pod
from detectron_operator.plan import Plan, Refusal, plan_invalid
from tests.unit.operator_objects import (
    after,
    check_pod,
    failed,
    gang,
    gated,
    pod,
    raw_job,
    succeeded,
    suspended,
    unreachable,
)
from tests.unit.planned_life import GANG_ONLY, TAKEN_AWAY, Life, running
from tests.unit.telling import ROWS, documented, told
from tests.unit.test_operator_deadlines import told as document

SOURCES = sorted(Path(detectron_operator.__file__).parent.rglob("*.py"))
CHECKED = {"timeoutSeconds": 60, "resources": {}, "enabled": True}
OOM = check_pod("Failed", terminated={"exitCode": 137, "reason": "OOMKilled"})

ENDINGS: dict[str, list[Pod]] = {
    reasons.POD_DELETED: [pod(0, 0)],
    reasons.NODE_LOST: [pod(0, 0), pod(0, 1, conditions=unreachable(since=0))],
    reasons.POD_DISRUPTED: [pod(0, 0), pod(0, 1, "Failed", conditions=[TAKEN_AWAY])],
    reasons.POD_REJECTED: [pod(0, 0), pod(0, 1, "Failed", reason="OutOfcpu")],
    reasons.PROCESS_FAILED: [pod(0, 0), failed(1)],
    reasons.PREEMPTED: [failed(reason="Preempted"), pod(0, 1)],
}


def test_every_word_stands_where_the_reference_says() -> None:
    places: dict[str, set[str]] = {word: set() for word in ROWS}
    for step in (*_starts(), *_endings(), *_suspension(), *_deadlines(), *_ends()):
        for word, place in told(step):
            if word in places:
                places[word].add(place)
    assert places == {word: documented(word) | _by_rule(word) for word in ROWS}


@pytest.mark.parametrize("word", sorted(reasons.REFUSALS))
def test_a_refusal_has_an_event_when_it_begins_and_when_it_ends(word: reasons.Reason) -> None:
    life = Life()
    refusal = Refusal(word, "words " * 300)
    (event,) = life.step(refusal=refusal).events
    assert (event.reason, event.type) == (word, "Warning")
    assert len(event.message) == 1024
    assert life.look(refusal=refusal).events == ()
    assert [event.reason for event in life.step().events] == ["Created"]
    assert life.step(gang(phase="Pending")).events == ()


def test_a_check_that_is_refused_is_told_once_too() -> None:
    life = Life(preflight=CHECKED)
    refusal = Refusal(reasons.CREATE_REFUSED, "exceeded quota")
    assert [event.type for event in life.step(refusal=refusal).events] == ["Warning"]
    assert life.look(refusal=refusal).events == ()
    assert life.step().events == ()
    assert life.condition("Running")["reason"] == "Checking"


def test_a_word_that_a_rule_makes_fatal_is_a_warning() -> None:
    (event,) = _ruled(reasons.POD_DISRUPTED).events
    assert (event.reason, event.type) == ("PodDisrupted", "Warning")


def test_words_are_made_nowhere_else() -> None:
    """mypy takes no text for a `Reason`; so who makes one is the only way in."""
    makers = {path.name for path in SOURCES for call in _calls(path) if "Reason" in call}
    assert makers == {"reasons.py"}
    assert any("Event" in call for path in SOURCES for call in _calls(path))


def _calls(path: Path) -> Iterator[str]:
    """What a module calls or casts to, as it is written."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            yield ast.unparse(node.args[0]) if called.endswith("cast") else called.rpartition(".")[2]


def _by_rule(word: str) -> set[str]:
    """Where failurePolicy puts a word beyond its own places."""
    return {"Failed", "Warning"} if word in ENDINGS or word == reasons.PROGRESS_DEADLINE_EXCEEDED else set()


def _ruled(*words: str) -> Plan:
    """The end of a job whose failurePolicy does not forgive one of the causes."""
    rule = {"action": "Fail", "onReasons": list(words)}
    life = running(runPolicy=suspended(False) | {"failurePolicy": {"rules": [rule]}})
    life.now = after(15)
    hung = document(idle=31, iterationSecondsP99=5.0)
    return life.step(ENDINGS.get(words[0], gang()), hung if words[0] not in ENDINGS else None)


def _starts() -> Iterator[Plan]:
    life = Life()
    for word in reasons.REFUSALS:
        yield life.step(refusal=Refusal(word, "words"))
    yield life.step()
    yield life.step(gated())
    yield life.step(gang(phase="Pending"))
    yield life.step(gang())
    life = running(elasticPolicy={"minNodes": 1, "maxNodes": 2, "maxRestarts": 3})
    leaving = [pod(0, 0), pod(0, 1, deleting=True)]
    yield life.step(leaving)
    yield life.step(leaving)
    life = Life(preflight=CHECKED)
    yield life.step()
    yield life.step([check_pod("Succeeded", terminated={"exitCode": 0})])
    life = Life(preflight=CHECKED)
    life.step()
    yield life.step([OOM])


def _endings() -> Iterator[Plan]:
    for word, pods in ENDINGS.items():
        life = running(elasticPolicy=GANG_ONLY)
        life.now = after(15)
        yield life.step(pods)
        yield life.step()
        yield _ruled(word)
    yield _ruled(reasons.PROGRESS_DEADLINE_EXCEEDED)
    life = running(elasticPolicy=GANG_ONLY)
    life.raw["status"]["restartsInARow"] = 1
    life.step([pod(0, 0), failed(1)])
    yield life.step()
    # A replacement that never runs.
    life = running()
    life.step([pod(0, 0), failed(1)])
    life.now = after(300)
    yield life.step([pod(0, 0)])


def _suspension() -> Iterator[Plan]:
    life = running()
    life.suspend(True)
    yield life.step(gang())
    yield life.step()
    life.suspend(False)
    yield life.step()


def _deadlines() -> Iterator[Plan]:
    life = running(runPolicy=suspended(False) | {"activeDeadlineSeconds": 60})
    life.now = after(60)
    yield life.step(gang())
    life = Life(runPolicy=suspended(False) | {"startupDeadlineSeconds": 60})
    life.step()
    life.now = after(60)
    yield life.step(gang(phase="Pending"))
    yield running().step(gang(), document(idle=31, iterationSecondsP99=5.0))


def _ends() -> Iterator[Plan]:
    yield running().step([succeeded(), pod(0, 1)])
    yield running(runPolicy=suspended(False, backoff_limit=0)).step([failed(), pod(0, 1)])
    for pods in ((), gang()):
        yield plan_invalid(raw_job(), pods, SpecError("spec.numNodes", "is 0"), after(0))


def test_success_says_what_was_reached_and_what_it_took() -> None:
    def last(*pods: Pod, restarts: int) -> tuple[Any, ...]:
        life = running()
        if restarts:
            life.raw["status"]["restartsByReason"] = [{"reason": "NodeLost", "count": restarts}]
        (event,) = life.step(pods).events
        assert event.message == life.status["message"]
        return event.reason, event.type, event.message

    for restarts, words in ((0, ""), (1, " after a restart"), (3, " after 3 restarts")):
        message = f"Training completed at iteration 1000{words}"
        assert last(succeeded(), pod(0, 1), restarts=restarts) == ("TrainingCompleted", "Normal", message)
