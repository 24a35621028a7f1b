"""The account of time and iterations, against arithmetic."""

from __future__ import annotations

import json
from typing import Any

from detectron_operator import ledger
from detectron_operator import progress as progress_document
from detectron_operator.history import History
from detectron_operator.ledger import Ledger, Loss
from detectron_operator.progress import Progress
from detectron_operator.status import Stored
from tests.unit.operator_objects import after, document, failed, gang, work
from tests.unit.planned_life import Life, running


def told(iteration: int, attempt: int = 0, *, at: float = 0.0, **done: Any) -> Progress:
    """Rank 0's document; its process is known by the attempt unless `process` says otherwise."""
    process = done.pop("process", attempt)
    raw = document(attempt, iteration, at=at, work=work(process, **done))
    return progress_document.parse(json.dumps(raw))


def account(life: Life) -> dict[str, Any]:
    found: dict[str, Any] = life.status["goodput"]
    return found


def in_phase(phase: str) -> Stored:
    return Stored(phase=phase, reason="", history=History(), started=True)


def wall(account: dict[str, Any]) -> int:
    phases: int = sum(
        account.get(f"{phase}Seconds", 0) for phase in ("pending", "running", "suspended", "queued")
    )
    down: int = sum(loss["downSeconds"] for loss in account.get("losses", []))
    return phases + down


def test_pending_time_ends_when_every_pod_runs() -> None:
    life = Life()
    life.step()
    life.now = after(40)
    life.step(gang())
    life.now = after(100)
    life.step(gang(), told(30, at=100, trained=30, startingSeconds=20))
    assert account(life)["pendingSeconds"] == 40
    assert account(life)["runningSeconds"] == 60
    assert account(life)["startingSeconds"] == 20
    assert account(life)["usefulSeconds"] == account(life)["usefulIterations"] == 30
    assert account(life)["percentage"] == 30


def test_a_restart_loses_iterations_and_time_to_its_cause() -> None:
    life = running()
    life.now = after(100)
    life.step(gang(), told(57, at=100, trained=57, training=114))
    life.now = after(110)
    life.step([failed(reason="OutOfMemory"), gang()[1]], told(57, at=100, trained=57, training=114))
    life.now = after(125)
    life.step()
    life.step(gang(1))
    life.now = after(145)
    life.step(gang(1), told(60, 1, at=145, trained=10, training=20))
    lost = {"cause": "OutOfMemory", "iterations": 7, "repeatedSeconds": 14, "downSeconds": 15}
    assert account(life)["losses"] == [lost]
    assert account(life)["usefulIterations"] == 60
    assert account(life)["usefulSeconds"] == 114 - 14 + 20
    assert account(life)["runningSeconds"] == 130
    assert wall(account(life)) == 145


def test_the_time_that_a_gang_stood_idle_is_lost_to_what_ended_it() -> None:
    life = running()
    life.now = after(100)
    life.step(gang(), told(57, at=60, trained=57, idle=40, iterationSecondsP99=1))
    assert life.status["phase"] == "Restarting"
    assert account(life)["losses"] == [
        {"cause": "ProgressDeadlineExceeded", "iterations": 0, "repeatedSeconds": 0, "downSeconds": 40}
    ]
    assert account(life)["runningSeconds"] == 60


def test_numbers_are_not_set_back_to_what_an_earlier_attempt_has_left() -> None:
    """An operator that has just started has only the last words of pods that ended, for a moment."""
    life, left = running(), failed(reason="ProcessFailed")
    life.step([left, *gang()[1:]])
    life.step([left, *gang(1)])
    life.now = after(100)
    life.step([left, *gang(1)], told(57, attempt=1, at=100, trained=57))
    life.now = after(200)
    life.step([left, *gang(1)])
    assert life.status["iteration"] == 57


def test_a_suspension_is_no_loss() -> None:
    life = running()
    life.now = after(10)
    life.step(gang(), told(10, at=10, trained=10))
    life.suspend(True)
    life.step(gang(), told(10, at=10, trained=10))
    life.now = after(12)
    life.step()
    life.now = after(1012)
    life.suspend(False)
    life.step()
    life.step()
    life.now = after(1032)
    life.step(gang(1))
    life.now = after(1042)
    life.step(gang(1), told(20, 1, at=1042, trained=10))
    assert account(life)["suspendedSeconds"] == 1000
    assert account(life)["pendingSeconds"] == 20
    assert account(life)["usefulIterations"] == 20
    assert "losses" not in account(life)
    assert account(life)["percentage"] == 100 * 20 // 42


def test_evaluations_and_checkpoints_are_neither_useful_nor_lost() -> None:
    life = running()
    life.now = after(100)
    life.step(gang(), told(50, at=100, trained=50, evaluatingSeconds=30.9, checkpointingSeconds=5))
    life.now = after(200)
    life.step(gang(), told(100, at=200, trained=100, evaluatingSeconds=62, checkpointingSeconds=11))
    assert account(life)["evaluatingSeconds"] == 62
    assert account(life)["checkpointingSeconds"] == 11
    assert account(life)["usefulSeconds"] == 100


def test_a_rollback_repeats_iterations_within_one_life() -> None:
    spent = Ledger().heard(told(60, trained=60)).heard(told(55, trained=65))
    assert spent.losses == {"NonFiniteLoss": Loss(iterations=10, repeated=10)}
    assert (spent.useful_iterations, spent.useful) == (55, 55)


def test_workers_that_begin_anew_in_their_pods_are_another_life() -> None:
    spent = Ledger(cause="OOMKilled").heard(told(60, trained=60)).heard(told(61, process=9, trained=11))
    assert spent.losses == {"WorkersRestarted": Loss(iterations=10, repeated=10)}
    assert (spent.useful_iterations, spent.useful) == (61, 61)
    assert spent.worker_restarts == 1
    assert spent.heard(told(70, 1, process=10, trained=9)).worker_restarts == 1


def test_a_checkpoint_that_nobody_was_told_of_loses_nothing() -> None:
    spent = Ledger().heard(told(60, trained=60)).heard(told(80, 1, trained=15))
    assert spent.losses == {}
    assert spent.useful_iterations == 80


def test_what_a_job_found_in_its_output_is_not_its_own_work() -> None:
    assert Ledger().heard(told(500, trained=20)).useful_iterations == 20


def test_documents_that_come_late_or_count_backwards_change_nothing() -> None:
    spent = Ledger().heard(told(80, 1, trained=20))
    assert spent.heard(told(60, 0, trained=60)) == spent
    assert spent.heard(told(90, 1, trained=5)) == spent


def test_it_is_carried_on_from_the_status() -> None:
    spent = (
        Ledger()
        .spent(in_phase(""), after(0))
        .heard(told(60, trained=60))
        .ended("OOMKilled", after(9) - after(0))
    )
    spent = spent.spent(in_phase("Restarting"), after(20)).heard(told(55, 1, trained=5))
    assert ledger.read({"goodput": json.loads(json.dumps(spent.record()))}) == spent


def test_a_clock_that_is_set_back_adds_nothing() -> None:
    runs = in_phase("Running")
    spent = Ledger().spent(runs, after(100)).spent(runs, after(50)).spent(runs, after(60))
    assert spent.running == 10


def test_causes_are_bounded() -> None:
    spent = Ledger()
    for number in range(100):
        spent = spent.lost(f"Cause{number}", down=1)
    assert len(spent.losses) == ledger.MAX_CAUSES
    assert spent.losses[ledger.OTHER].down == 100 - ledger.MAX_CAUSES + 1


def test_the_account_alone_is_never_written() -> None:
    life = running()
    life.now = after(10)
    life.step(gang(), told(10, at=10, trained=10))
    life.now = after(100)
    assert life.look(gang(), told(10, at=10, trained=10, evaluatingSeconds=50)).status is None


def test_the_wait_for_the_replacement_of_a_pod_is_lost_to_what_took_the_pod() -> None:
    life = running(elasticPolicy={"maxRestarts": 3})
    life.now = after(100)
    life.step(gang(), told(57, at=100, trained=57))
    life.now = after(110)
    life.step([gang()[0], failed(1)], told(57, at=100, trained=57, idle=10))
    assert (life.status["phase"], life.status["attempt"]) == ("Restarting", 0)
    life.now = after(125)
    life.step([gang()[0]])
    assert account(life)["losses"] == [
        {"cause": "ProcessFailed", "iterations": 0, "repeatedSeconds": 0, "downSeconds": 25}
    ]
