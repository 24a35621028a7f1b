"""Pods that wait for a volume: what is said of them in events reaches the status."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from detectron_operator.complaints import Complaint, latest, read
from detectron_operator.observed import Pod
from tests.unit.operator_objects import after, pod
from tests.unit.planned_life import Life


def unprepared(*, at: float, index: int = 0) -> Pod:
    moment = after(at).isoformat()
    condition = {"type": "PodReadyToStartContainers", "status": "False", "lastTransitionTime": moment}
    waiting = {"reason": "ContainerCreating"}
    return pod(0, index, "Pending", waiting=waiting, conditions=[condition])


def event(message: object, *, at: float = 0, **fields: object) -> dict[str, Any]:
    said = {"reason": "FailedMount", "message": message, "lastTimestamp": after(at).isoformat()}
    return said | fields


def test_a_pod_is_asked_after_when_it_has_waited_for_a_while() -> None:
    life = Life()
    life.step()
    life.now = after(4)
    look = life.look([unprepared(at=1), unprepared(at=1, index=1)])
    assert (look.look_into, look.requeue_after) == (None, 2)
    life.now = after(6)
    look = life.look([unprepared(at=1), unprepared(at=1, index=1)])
    assert (look.look_into, look.requeue_after) == ("uid-1-0-0", 10)


def test_what_is_said_of_it_is_the_status_and_asked_for_again() -> None:
    life = Life()
    life.step()
    life.now = after(6)
    told = replace(unprepared(at=1), reason="FailedMount", message='secret "keys" not found')
    step = life.step([told, unprepared(at=1, index=1)])
    assert (step.look_into, step.requeue_after) == (None, 10)
    assert life.condition("Running")["reason"] == "FailedMount"
    assert life.status["message"] == 'Waiting for pod train-0-0: FailedMount: secret "keys" not found'


def test_nobody_asks_after_a_pod_that_pulls_its_image() -> None:
    life = Life()
    life.step()
    life.now = after(600)
    pulling = pod(0, 0, "Pending", waiting={"reason": "ContainerCreating"})
    look = life.look([pulling, pod(0, 1)])
    assert (look.look_into, look.requeue_after) == (None, None)


def test_the_latest_word_counts_on_one_line() -> None:
    events = [event("old", at=1), event("two\n  lines", at=3), event("older", at=2)]
    said = [complaint for complaint in map(read, events) if complaint is not None]
    assert latest(said) == Complaint(moment=after(3), reason="FailedMount", message="two lines")
    assert latest([]) is None


@pytest.mark.parametrize(
    "nonsense",
    [{}, event(7), event("x", reason=None), event("x", lastTimestamp="soon"), event("x", lastTimestamp=None)],
)
def test_nonsense_is_left_out(nonsense: dict[str, Any]) -> None:
    assert read(nonsense) is None
