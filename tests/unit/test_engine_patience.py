"""How long news of a pod wait for those of its gang."""

from __future__ import annotations

import pytest

from detectron_operator.engine.patience import GATHER, GONE, IN_A_RUSH, NEVER_RAN, ON_THE_WAY, patience
from detectron_operator.observed import Pod
from tests.unit.operator_objects import pod

UNREADY = [{"type": "Ready", "status": "False"}]


def wait(seen: Pod, *others: Pod, gone: bool = False, in_a_rush: bool = False) -> float:
    return patience(seen, [seen, *others], gone=gone, in_a_rush=in_a_rush)


@pytest.mark.parametrize(
    ("ahead", "behind"),
    [
        (pod(phase="Running"), pod(index=1, phase="Pending")),
        (pod(phase="Running"), pod(index=1, phase="Running", conditions=UNREADY)),
    ],
)
def test_of_two_that_start_only_the_last_is_news_at_once(ahead: Pod, behind: Pod) -> None:
    assert wait(ahead, behind) == ON_THE_WAY
    assert wait(behind, ahead) == GATHER
    assert wait(ahead, ahead) == GATHER


def test_a_pod_that_is_stuck_is_told_of_at_once_whatever_the_others_do() -> None:
    stuck = pod(index=1, phase="Pending", waiting={"reason": "ErrImagePull", "message": "no such image"})
    assert wait(stuck, pod(phase="Running")) == GATHER


def test_nobody_waits_for_a_pod_of_another_attempt() -> None:
    assert wait(pod(1, 0), pod(0, 1, "Pending")) == GATHER


def test_a_pod_that_ends_or_is_being_deleted_waits_for_none_that_starts() -> None:
    starting = pod(index=1, phase="Pending")
    assert wait(pod(phase="Failed"), starting) == GATHER
    assert wait(pod(phase="Running", deleting=True), starting) == GATHER


def test_a_rush_delays_what_lives_and_nothing_else() -> None:
    assert wait(pod(), in_a_rush=True) == IN_A_RUSH
    assert wait(pod(phase="Failed"), in_a_rush=True) == GATHER
    assert wait(pod(), gone=True, in_a_rush=True) == GONE


@pytest.mark.parametrize("phase", ["Running", "Failed", "Succeeded", "Unknown"])
def test_what_follows_a_pod_that_ran_waits_for_nothing(phase: str) -> None:
    starting = pod(index=1, phase="Pending")
    assert wait(pod(phase=phase), starting, gone=True) == GONE
    assert wait(pod(phase=phase, deleting=True), starting, gone=True) == GONE
    assert wait(pod(phase=phase, deleting=True), starting) == GATHER


def test_a_pod_that_is_deleted_before_it_ran_is_not_made_anew_at_once() -> None:
    assert wait(pod(phase="Pending"), gone=True) == NEVER_RAN
    assert wait(pod(phase="Pending", deleting=True)) == NEVER_RAN
    assert NEVER_RAN >= 1
