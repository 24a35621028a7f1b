"""What the trainer's measurements become: ratios within a round, a table, curves laid over each other."""

from __future__ import annotations

import pytest

from bench import losses, trainer_report
from bench.trainer_costs import Costs
from bench.trainer_report import Result, curves, ratios


def result(name: str, *seconds: float, losses: tuple[float, ...] = (4.0, 3.0, 2.0, 1.0)) -> Result:
    return Result(name=name, startup=5.0, seconds=seconds, cpu_seconds=seconds, losses=losses, peak=3 * 2**20)


def test_a_round_is_compared_with_itself() -> None:
    # The machine was twice as slow in the second round, for both.
    assert ratios([2.0, 4.0], [1.0, 2.0]) == [2.0, 2.0]
    with pytest.raises(ValueError, match="argument 2"):
        ratios([2.0], [1.0, 2.0])


def test_the_table_shows_medians_and_spread() -> None:
    table = trainer_report.race([result("plain", 2.0, 4.0, 9.0), result("ours", 1.0, 4.0, 3.0)], 2, 10)
    plain, ours = (line.split() for line in table.splitlines()[2:4])
    assert table.splitlines()[1].startswith("2 processes")
    assert plain[3:] == ["400", "5.0", "3", "2.5000", "1.000", "(1.00-1.00)", "1.000"]
    assert ours[3:] == ["300", "5.0", "3", "2.5000", "2.000", "(1.00-3.00)", "2.000"]


def test_curves_meet_where_losses_are_equal() -> None:
    drawn = curves({"plain": [4.0, 2.0, 0.0], "ours": [4.0, 4.0, 0.0]}).splitlines()[1:]
    assert [line.split("|")[1] for line in (drawn[0], drawn[-1])] == ["*b ", "  *"]
    assert sum(line.count("a") for line in drawn) == 1


def test_costs_are_shares_of_a_step() -> None:
    found = Costs(
        metrics_seconds=1e-4, save_seconds=[0.5, 0.4, 0.6], blocked_seconds=[0.2, 0.02, 0.03], bytes=2**20
    )
    text = trainer_report.costs(found, 0.2)
    assert "100 us of CPU time an iteration, 0.050% of ours" in text
    assert "stops training for 500 ms, in the background 25 ms (5.0%), the first time 200 ms" in text


def test_losses_of_one_seed_are_compared_with_each_other() -> None:
    found = losses.Comparison(theirs=[1.0, 2.0, 3.0, 4.0], ours=[1.1, 2.3, 3.1, 4.3])
    assert found.difference == pytest.approx(0.2)
    assert found.error == pytest.approx(0.0577, abs=1e-4)


def test_late_losses_are_told_beside_their_spread() -> None:
    told = losses.told({"simple": [1.0, 3.0], "levers-bf16": [1.5, 3.5]}).splitlines()
    assert told[0].startswith("DefaultTrainer (SimpleTrainer): 2.0000, from seed to seed +- 1.4142")
    assert told[1].startswith("ours, levers and bfloat16: 2.5000, with one seed +0.5000 +- 0.0000")
