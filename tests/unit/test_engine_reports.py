"""Progress reports: the newest counts, news is told once a period, and nonsense changes nothing."""

import json
from dataclasses import replace
from datetime import UTC, datetime

from prometheus_client import generate_latest

from detectron_operator.engine.poller import Silence
from detectron_operator.engine.reports import Reports
from detectron_operator.kube.objects import Key
from detectron_operator.metrics import Metrics
from detectron_operator.progress import parse

JOB = Key("default", "job")


class Setting:
    """Reports with a clock to turn and a list of the jobs that said something new."""

    def __init__(self) -> None:
        self.now = 0.0
        self.news: list[Key] = []
        self.metrics = Metrics("test")
        self.reports = Reports(5.0, lambda: self.now, self.news.append, self.metrics)

    def polls(self, result: str) -> float:
        value = self.metrics.registry.get_sample_value(
            "detectron_operator_progress_polls_total", {"result": result}
        )
        return value or 0.0


def document(iteration: int) -> bytes:
    return json.dumps(
        {
            "version": 1,
            "phase": "Training",
            "attempt": 0,
            "worldSize": 1,
            "iteration": iteration,
            "lastUpdatedTime": "2026-01-01T00:00:00Z",
        }
    ).encode()


def iteration(reports: Reports) -> int | None:
    progress = reports.get(JOB)
    return None if progress is None else progress.iteration


def test_the_first_report_is_news_at_once_and_later_ones_once_a_period() -> None:
    setting = Setting()
    for second in range(12):
        setting.now = second
        setting.reports.take(JOB, document(second))
    assert len(setting.news) == 3
    assert iteration(setting.reports) == 11


def test_what_was_said_last_is_news_in_the_end() -> None:
    setting = Setting()
    for second, number in ((0, 1), (1, 2), (4, 2)):
        setting.now = second
        setting.reports.take(JOB, document(number))
    assert setting.news == [JOB]
    setting.now = 5
    setting.reports.take(JOB, document(2))
    assert setting.news == [JOB, JOB]


def test_an_unchanged_report_is_no_news() -> None:
    setting = Setting()
    for second in (0, 10, 20):
        setting.now = second
        setting.reports.take(JOB, document(1))
    assert setting.news == [JOB]


def test_nonsense_and_silence_change_nothing_and_are_counted() -> None:
    setting = Setting()
    setting.reports.take(JOB, document(1))
    setting.now = 10
    for content in (b"", b"\xff", b"{}", b"[" * 100_000, b'{"version": 2}'):
        setting.reports.take(JOB, content)
    setting.reports.take(JOB, Silence.UNREACHABLE)
    assert iteration(setting.reports) == 1
    assert setting.news == [JOB]
    assert (setting.polls("read"), setting.polls("malformed"), setting.polls("unreachable")) == (1, 5, 1)


def test_an_answer_lost_to_an_error_is_counted_and_leaves_what_was_said() -> None:
    setting = Setting()
    setting.reports.take(JOB, document(1))
    setting.reports.lose(JOB)
    assert iteration(setting.reports) == 1
    assert (setting.polls("failed"), setting.news) == (1, [JOB])


def test_a_forgotten_job_begins_anew() -> None:
    setting = Setting()
    setting.reports.take(JOB, document(1))
    setting.reports.forget(JOB)
    assert setting.reports.get(JOB) is None
    setting.reports.take(JOB, document(0))
    assert setting.news == [JOB, JOB]


def test_no_metric_names_a_job() -> None:
    setting = Setting()
    setting.reports.take(JOB, document(1))
    assert b"default" not in generate_latest(setting.metrics.registry)


def test_a_pod_that_lets_us_wait_is_news_when_it_begins_and_when_it_ends() -> None:
    setting = Setting()
    setting.reports.take(JOB, document(1))
    for silence in (Silence.UNREACHABLE, Silence.TIMED_OUT, Silence.TIMED_OUT):
        setting.reports.take(JOB, silence)
    assert setting.reports.is_mute(JOB)
    assert setting.news == [JOB] * 2
    setting.reports.take(JOB, Silence.UNREACHABLE)
    assert not setting.reports.is_mute(JOB)
    assert setting.news == [JOB] * 3


def test_last_words_are_kept_unless_another_pod_has_spoken_since() -> None:
    setting = Setting()
    setting.reports.take(JOB, document(7))
    last = replace(parse(document(9)), last_updated_time=datetime(2026, 1, 1, 0, 1, tzinfo=UTC))
    setting.reports.keep(JOB, last)
    assert iteration(setting.reports) == 9
    setting.reports.keep(JOB, parse(document(8)))
    assert iteration(setting.reports) == 9
