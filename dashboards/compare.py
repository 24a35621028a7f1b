"""Jobs over each other, by iteration: whether a change of settings learns better, not only faster."""

from __future__ import annotations

from dashboards.board import JOB_QUERY, NAMESPACE, Board, Row, Variable
from dashboards.panels import Query, by_iteration, graph, listing

TRAINING = 'namespace=~"$namespace",training_job=~"$training_job"'


def latest(metric: str, more: str = "") -> str:
    """A gauge of each job, whichever attempt's pod tells it."""
    return f"max by (training_job) (detectron_{metric}{{{TRAINING}{more}}})"


ITERATION = latest("training_iteration")

BOARD = Board(
    uid="detectron-compare",
    title="Detectron / Compare",
    description="Jobs over each other by iteration: losses, precision, learning rate, speed.",
    variables=(
        NAMESPACE,
        Variable("training_job", "Jobs", JOB_QUERY, several=True),
        Variable(
            "loss", "Component loss", 'label_values(detectron_training_loss{namespace=~"$namespace"}, loss)'
        ),
    ),
    since="now-24h",
    rows=(
        Row(
            "By iteration",
            [
                by_iteration(
                    "Total loss",
                    "Sum of the component losses over the iteration that it belongs to.",
                    latest("training_total_loss"),
                    ITERATION,
                ),
                by_iteration(
                    "Component loss",
                    "The chosen component over the iteration that it belongs to.",
                    latest("training_loss", ',loss="$loss"'),
                    ITERATION,
                ),
                by_iteration(
                    "Average precision",
                    "The mean average precision of the last evaluation, of the task that does best.",
                    latest("evaluation_average_precision_ratio", ',kind="AP"'),
                    latest("training_last_evaluation_iteration"),
                ),
                by_iteration(
                    "Learning rate",
                    "Of the optimizer's first parameter group.",
                    latest("training_learning_rate"),
                    ITERATION,
                ),
            ],
        ),
        Row(
            "Speed and result",
            [
                graph(
                    "Throughput",
                    "Images trained on in a second, by all processes of a job together.",
                    Query(
                        "sum by (training_job) "
                        f"(rate(detectron_training_images_total{{{TRAINING}}}[$__rate_interval]))",
                        "{{training_job}}",
                    ),
                ),
                listing(
                    "Last precision",
                    "Average precision of each job's last evaluation in this time span.",
                    Query(
                        "last_over_time(max by (training_job, dataset, task) "
                        f'(detectron_evaluation_average_precision_ratio{{{TRAINING},kind="AP"}})[$__range:])'
                    ),
                    columns={"training_job": "Job", "dataset": "Dataset", "task": "Task", "Value": "AP"},
                    unit="percentunit",
                    width=12,
                ),
            ],
        ),
    ),
)
