"""What holds for every plan, and what it takes from the progress that is told."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from detectron_operator.plan import Plan
from tests.unit.operator_objects import START, after, document, failed, gang, pod
from tests.unit.planned_life import running, spoken


class TestProgress:
    def test_numbers_are_shown_at_once_and_then_once_a_period(self) -> None:
        life = running()
        assert life.step(gang(), spoken(iteration=10, at=0)).status is not None
        assert life.status["iteration"] == 10
        assert life.status["eta"] == "1h5m"
        life.now = after(2)
        waiting = life.look(gang(), spoken(iteration=20, at=2))
        assert (waiting.status, waiting.requeue_after) == (None, 3.0)
        life.now = after(5)
        life.step(gang(), spoken(iteration=20, at=2))
        assert life.status["iteration"] == 20

    def test_the_trainer_s_own_clock_counts_too(self) -> None:
        life = running()
        life.step(gang(), spoken(iteration=10, at=-600))
        assert life.look(gang(), spoken(iteration=20, at=-596)).status is not None
        life.step(gang(), spoken(iteration=11, at=600))
        assert life.look(gang(), spoken(iteration=20, at=603)).requeue_after == 2.0
        assert life.look(gang(), spoken(iteration=20, at=605)).status is not None

    def test_a_time_far_in_the_future_does_not_silence_a_job(self) -> None:
        life = running()
        life.step(gang(), spoken(iteration=10, at=10**9))
        life.step(gang(), spoken(iteration=20, at=0))
        assert life.status["iteration"] == 20

    def test_a_phase_change_takes_the_numbers_along_at_once(self) -> None:
        life = running()
        life.step(gang(), spoken(iteration=10, at=0))
        life.step([pod(0, 0), failed(1)], spoken(iteration=20, at=1))
        assert (life.status["phase"], life.status["iteration"]) == ("Restarting", 20)
        assert "eta" not in life.status

    def test_the_same_numbers_at_another_time_are_no_news(self) -> None:
        life = running()
        life.step(gang(), spoken(iteration=10, at=0))
        life.now = after(100)
        assert life.look(gang(), spoken(iteration=10, at=90)) == Plan(poll="http://10.0.0.1")

    def test_a_document_of_another_attempt_is_ignored(self) -> None:
        life = running()
        life.step(gang(), spoken(iteration=10))
        life.now = after(100)
        assert life.look(gang(), spoken(1, 20, at=50)) == Plan(poll="http://10.0.0.1")

    def test_the_newest_of_two_documents(self) -> None:
        life = running()
        words = {"exitCode": 1, "message": json.dumps(document(0, 30, at=30))}
        life.step([pod(0, 0, "Failed", terminated=words), pod(0, 1)], spoken(iteration=10, at=20))
        assert life.status["iteration"] == 30


def test_long_words_are_cut_to_the_schema_s_bounds() -> None:
    life = running()
    life.step([failed(reason="InvalidConfig", retryable=False, message="é" * 2000), pod(0, 1)])
    assert len(life.status["message"]) == 1024
    assert life.status["message"].endswith("…")
    assert len(life.condition("Failed")["message"]) == 1024
    assert life.status["failure"]["message"] == "é" * 2000


@pytest.mark.parametrize("now", [START, after(1), after(10**8)])
def test_the_same_input_gives_the_same_plan(now: datetime) -> None:
    life = running()
    life.now = now
    pods = [failed(), pod(0, 1)]
    assert life.look(pods, spoken()) == life.look(reversed(pods), spoken())
