"""What waits to be told in a rush: nothing of it is lost, and it does not wait for long."""

import contextlib

from detectron_operator.engine.untold import CALM, PATIENCE, News, Rush, Untold
from detectron_operator.kube.objects import Key, Object
from detectron_operator.reasons import Reason
from detectron_operator.steps import Event, Plan

JOB, OTHER = Key("default", "a"), Key("default", "b")
UID = "7"


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def event(reason: str) -> Event:
    return Event(Reason(reason), "said")


def after(untold: Untold, step: Plan, uid: str = UID) -> News:
    """What is to be told after a step that says something."""
    news = untold.and_also(JOB, uid, step)
    assert news is not None
    return news


class TestRush:
    def test_it_is_on_while_a_child_of_another_job_is_created_and_a_moment_longer(self) -> None:
        clock = Clock()
        rush = Rush(clock)
        seen = [rush.on(JOB)]
        with rush.acting(OTHER):
            with rush.acting(OTHER):
                seen.append(rush.on(JOB))
            clock.now += 2 * CALM
            seen.append(rush.on(JOB))
        seen.append(rush.on(JOB))
        clock.now += CALM
        seen.append(rush.on(JOB))
        assert seen == [False, True, True, True, False]

    def test_a_job_s_own_children_make_none(self) -> None:
        clock = Clock()
        rush = Rush(clock)
        with rush.acting(JOB):
            assert not rush.on(JOB)
        assert not rush.on(JOB)
        assert rush.on(OTHER)
        with rush.acting(OTHER):
            pass
        with rush.acting(JOB):
            pass
        assert rush.on(JOB)
        clock.now += CALM
        assert not rush.on(JOB)

    def test_a_child_that_is_refused_ends_it_too(self) -> None:
        clock = Clock()
        rush = Rush(clock)
        with contextlib.suppress(OSError), rush.acting(OTHER):
            raise OSError
        clock.now += CALM
        assert not rush.on(JOB)


class TestUntold:
    def test_plans_rest_on_what_is_about_to_be_told(self) -> None:
        untold = Untold(Clock())
        raw: Object = {"spec": {"numNodes": 2}, "status": {"phase": "Pending"}}
        assert untold.over(JOB, UID, raw) is raw
        assert untold.put_off(JOB, after(untold, Plan(status={"phase": "Running"})))
        assert untold.over(JOB, UID, raw) == {**raw, "status": {"phase": "Running"}}
        assert raw["status"] == {"phase": "Pending"}

    def test_the_newest_status_is_told_and_every_event(self) -> None:
        untold = Untold(Clock())
        steps = [
            Plan(status={"phase": "Pending"}, events=(event("Created"),)),
            Plan(status={"phase": "Running"}, events=(event("GangRunning"),)),
            Plan(),
        ]
        for step in steps:
            news = after(untold, step)
            assert untold.put_off(JOB, news)
        assert news.status == {"phase": "Running"}
        assert [found.reason for found in news.events] == ["Created", "GangRunning"]

    def test_it_waits_for_so_long_from_the_first_news_on(self) -> None:
        clock = Clock()
        untold = Untold(clock)
        assert untold.put_off(JOB, after(untold, Plan(status={"phase": "Pending"})))
        clock.now += PATIENCE - 0.1
        assert untold.put_off(JOB, after(untold, Plan(status={"phase": "Running"})))
        clock.now += 0.1
        assert not untold.put_off(JOB, after(untold, Plan()))

    def test_what_is_told_or_of_an_earlier_job_of_that_name_is_not_told_again(self) -> None:
        untold = Untold(Clock())
        step = Plan(status={"phase": "Pending"}, events=(event("Created"),))
        assert untold.put_off(JOB, after(untold, step))
        raw: Object = {"status": {}}
        assert untold.over(JOB, "8", raw) is raw
        assert untold.and_also(JOB, "8", Plan()) is None
        untold.forget(JOB)
        assert untold.and_also(JOB, UID, Plan()) is None

    def test_an_event_without_a_status_waits_for_nothing(self) -> None:
        assert Untold(Clock()).and_also(JOB, UID, Plan(events=(event("Created"),))) is None
