"""Dead pods: their logs stay, and their number is bounded."""

from __future__ import annotations

from detectron_operator.observed import Pod
from detectron_operator.plan.cleaning import KEPT
from tests.unit.operator_objects import after, failed, gang, pod, succeeded
from tests.unit.planned_life import Life, replacement, running


def rejected(attempt: int) -> list[Pod]:
    """A gang that a node does not take."""
    return [pod(attempt, index, "Failed", reason="OutOfcpu") for index in range(2)]


def names(pods: list[Pod]) -> list[str]:
    return [dead.name for dead in pods]


def test_a_gang_that_is_rejected_without_end_leaves_a_bounded_number_of_pods() -> None:
    life = Life()
    pods: list[Pod] = []
    for attempt in range(25):
        life.now = after(1000 * attempt)
        life.step(pods)
        pods += rejected(attempt)
        asked = {deleted.name for look in range(2) for deleted in life.step(pods).delete}
        pods = [dead for dead in pods if dead.name not in asked]
        assert life.status["attempt"] == attempt + 1
        assert len({dead.attempt for dead in pods}) <= KEPT
    assert names(pods) == [f"train-{attempt}-{index}" for attempt in range(16, 25) for index in range(2)]
    assert life.look(pods).delete == ()


def test_an_elastic_gang_whose_replacements_are_rejected_without_end_leaves_as_few() -> None:
    life = running(elasticPolicy={"minNodes": 1, "maxNodes": 2, "maxRestarts": 3})
    dead = rejected(0)[1:]
    for nth in range(1, 25):
        life.now = after(1000 * nth)
        asked = {deleted.name for look in range(2) for deleted in life.step([pod(0, 0), *dead]).delete}
        assert life.status["replacements"] == [{"index": 1, "count": nth}]
        dead = [pod for pod in dead if pod.name not in asked]
        assert len(dead) <= KEPT
        dead.append(replacement(nth, "Failed", reason="OutOfcpu"))
    assert names(dead) == [f"train-0-1r{nth}" for nth in range(15, 25)]


def test_those_of_the_newest_attempts_keep_their_logs() -> None:
    life = Life(status={"phase": "Restarting", "attempt": KEPT - 1})
    old = [failed(attempt=attempt) for attempt in range(KEPT - 1)]
    assert life.look([*old, *gang(KEPT - 1)]).delete == ()
    newer = life.look([*old, *gang(KEPT)])
    assert [deleted.name for deleted in newer.delete] == ["train-0-0"]


def test_the_pod_that_completed_training_is_never_among_them() -> None:
    life = Life(status={"phase": "Restarting", "attempt": 20})
    step = life.step([succeeded(attempt=1), *rejected(2)])
    assert (life.status["phase"], step.delete) == ("Succeeded", ())


def test_what_a_finished_job_left_stays_as_its_policy_says() -> None:
    life = running()
    life.raw["status"]["attempt"] = 20
    dead = [failed(attempt=1), failed(attempt=20, reason="InvalidConfig", retryable=False)]
    life.step(dead)
    assert life.status["phase"] == "Failed"
    life.step(dead)
    assert life.look(dead).delete == ()
