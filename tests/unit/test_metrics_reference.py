"""The metrics reference is the one that the code makes, and the operator's own series stay few."""

import dataclasses

from detectron_trainer.metrics.training_metrics import TrainingMetrics
from tests.unit.metrics_reference import FULL_RUN, PAGE, page


def test_the_reference_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.unit.metrics_reference"


def test_no_training_metric_is_left_out() -> None:
    empty = TrainingMetrics(info={})
    always = {"iteration_durations", "data_loading_durations"}
    for field in dataclasses.fields(TrainingMetrics):
        if field.name not in always:
            assert getattr(FULL_RUN, field.name) != getattr(empty, field.name), field.name


def test_no_metric_of_the_operator_itself_names_a_job() -> None:
    own, jobs = page().split("## Jobs")
    assert "training_job" not in own
    assert "`job_namespace`, `training_job`" in jobs
