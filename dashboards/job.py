"""One job: where it stands, how it learns, what holds it up."""

from __future__ import annotations

from dashboards.board import JOB_QUERY, NAMESPACE, Board, Mark, Row, Variable
from dashboards.panels import Query, bars, by_iteration, graph, listing, number, timeline

TRAINING = 'namespace=~"$namespace",training_job="$training_job"'
"""What the trainer's series of the job match; those of rank 0, which alone knows losses."""
JOB = 'job_namespace=~"$namespace",training_job="$training_job"'
"""What the operator's series of the job match."""


def latest(metric: str, labels: str = "training_job", more: str = "") -> str:
    """A gauge of the job, whichever attempt's pod tells it."""
    return f"max by ({labels}) (detectron_{metric}{{{TRAINING}{more}}})"


def quantile(of: float, histogram: str) -> str:
    """A quantile of the durations that a histogram saw of late."""
    rate = f"rate(detectron_training_{histogram}_bucket{{{TRAINING}}}[$__rate_interval])"
    return f"histogram_quantile({of}, sum by (le) ({rate}))"


def total(counter: str) -> str:
    """The rate of a counter of the job."""
    return f"sum(rate(detectron_training_{counter}{{{TRAINING}}}[$__rate_interval]))"


STANDING = Row(
    "Where it stands",
    [
        number(
            "Phase",
            "The phase in the job's status.",
            Query(f"detectron_job_status_phase{{{JOB}}} == 1", "{{phase}}"),
            named=True,
        ),
        number(
            "Progress",
            "Completed iterations over those to complete.",
            Query(f"detectron_job_progress_ratio{{{JOB}}}"),
            unit="percentunit",
        ),
        number(
            "Time left",
            "Estimated time to the last iteration, evaluations and checkpoints included; none once trained.",
            Query(
                f"detectron_job_estimated_remaining_seconds{{{JOB}}} or"
                f' detectron_job_status_phase{{{JOB},phase="Succeeded"}} * 0'
            ),
            unit="dtdurations",
        ),
        number(
            "Iteration",
            "Iterations that are completed.",
            Query(f"detectron_job_iteration{{{JOB}}}"),
            unit="none",
        ),
        number(
            "Best precision",
            "The best mean average precision (AP) that an evaluation of this time span found, of any task.",
            Query(
                "max(max_over_time(detectron_evaluation_average_precision_ratio"
                f'{{{TRAINING},kind="AP"}}[$__range]))'
            ),
            unit="percentunit",
        ),
        number(
            "Silence",
            "Time since the running job last told of progress.",
            Query(
                f"(time() - detectron_job_last_progress_timestamp_seconds{{{JOB}}})"
                " and on (job_namespace, training_job) "
                f'(detectron_job_status_phase{{{JOB},phase="Running"}} == 1)'
            ),
            unit="dtdurations",
            steps=((None, "green"), (300, "orange"), (900, "red")),
        ),
        timeline(
            "Phases",
            "The phase in the job's status over time.",
            Query(f"detectron_job_status_phase{{{JOB}}}", "{{phase}}"),
        ),
    ],
)

LEARNING = Row(
    "Losses and learning rate",
    [
        graph(
            "Total loss",
            "Sum of the component losses, the median of the last 20 iterations as in metrics.json.",
            Query(latest("training_total_loss"), "total loss"),
        ),
        graph(
            "Component losses",
            "The losses that the total is made of.",
            Query(latest("training_loss", "loss"), "{{loss}}"),
            stacked=True,
        ),
        by_iteration(
            "Total loss by iteration",
            "The total loss over the iteration that it belongs to, free of pauses and restarts.",
            latest("training_total_loss"),
            latest("training_iteration"),
        ),
        graph(
            "Learning rate",
            "Of the optimizer's first parameter group.",
            Query(latest("training_learning_rate"), "learning rate"),
            logarithmic=True,
        ),
    ],
)

SPEED = Row(
    "Speed",
    [
        graph(
            "Throughput",
            "Images trained on in a second, by all processes together.",
            Query(total("images_total"), "images/s"),
            width=8,
        ),
        graph(
            "Iterations against data loading",
            "How long iterations take, and how long of that the slowest rank waits for images.",
            Query(quantile(0.5, "iteration_duration_seconds"), "iteration p50"),
            Query(quantile(0.95, "iteration_duration_seconds"), "iteration p95"),
            Query(quantile(0.95, "data_loading_duration_seconds"), "data loading p95"),
            unit="s",
            width=8,
        ),
        graph(
            "Waiting for data",
            "The part of the iterations' time that passes waiting for images.",
            Query(
                f"{total('data_loading_duration_seconds_sum')} / {total('iteration_duration_seconds_sum')}",
                "of the time",
            ),
            unit="percentunit",
            width=8,
        ),
    ],
)

PRECISION = Row(
    "Evaluation",
    [
        graph(
            "Average precision",
            "AP and AP50 of each evaluation, by dataset and task.",
            Query(
                latest("evaluation_average_precision_ratio", "dataset, task, kind", ',kind=~"AP|AP50"'),
                "{{dataset}} {{task}} {{kind}}",
            ),
            unit="percentunit",
        ),
        listing(
            "Categories, the worst first",
            "Average precision of each category in the last evaluation.",
            Query(
                "last_over_time("
                f"{latest('evaluation_category_average_precision_ratio', 'dataset, task, category')}"
                "[$__range:])"
            ),
            columns={"category": "Category", "task": "Task", "dataset": "Dataset", "Value": "AP"},
            unit="percentunit",
            width=12,
            worst_first="AP",
        ),
    ],
)

KEEPING = Row(
    "Checkpoints and restarts",
    [
        graph(
            "Age of the last checkpoint",
            "What a fault would cost at that time, at most.",
            Query(f"time() - detectron_job_last_checkpoint_timestamp_seconds{{{JOB}}}", "age"),
            unit="s",
            width=8,
        ),
        bars(
            "Restarts by cause",
            "Attempts that followed another one, by the reason why that one ended.",
            Query(f"sum by (reason) (detectron_job_restarts_total{{{JOB}}})", "{{reason}}"),
            width=8,
        ),
        graph(
            "Attempt",
            "Number of the newest attempt, counted from 0.",
            Query(f"detectron_job_attempt{{{JOB}}}", "attempt"),
            unit="none",
            width=8,
        ),
    ],
)

GOODPUT = Row(
    "Where time went",
    [
        number(
            "Goodput",
            "Time of iterations that were kept, over all time that was not suspended.",
            Query(f"detectron_job_goodput_ratio{{{JOB}}}"),
            unit="percentunit",
        ),
        bars(
            "Time of the trainer",
            "What the trainer spent its time on; useful are iterations that were kept.",
            Query(f"detectron_job_trainer_seconds{{{JOB}}}", "{{activity}}"),
            unit="s",
            width=10,
        ),
        bars(
            "Time lost by cause",
            "Time without progress and time of iterations trained in vain, by the reason of the restart.",
            Query(f"detectron_job_lost_seconds{{{JOB}}}", "{{cause}}"),
            unit="s",
            width=10,
        ),
    ],
)

DEVICES = Row(
    "GPU memory",
    [
        graph(
            "GPU memory",
            "What tensors hold, and the most that they ever held, by pod and device.",
            Query(
                latest("training_gpu_memory_allocated_bytes", "pod, device"), "{{pod}} {{device}} allocated"
            ),
            Query(latest("training_gpu_memory_peak_bytes", "pod, device"), "{{pod}} {{device}} peak"),
            unit="bytes",
            width=24,
        ),
    ],
)


def mark(name: str, metric: str, color: str) -> Mark:
    """Lines at the times that a timestamp of the trainer names."""
    return Mark(name, f"{latest(metric)} * 1000", color)


BOARD = Board(
    uid="detectron-job",
    title="Detectron / Job",
    description="One DetectronTrainingJob: progress, losses, speed, precision, checkpoints and restarts.",
    variables=(NAMESPACE, Variable("training_job", "Job", JOB_QUERY)),
    rows=(STANDING, LEARNING, SPEED, PRECISION, KEEPING, GOODPUT, DEVICES),
    marks=(
        mark("Checkpoints", "training_last_checkpoint_timestamp_seconds", "green"),
        mark("Evaluations", "training_last_evaluation_timestamp_seconds", "purple"),
        Mark(
            "Attempts",
            f"(detectron_job_attempt{{{JOB}}} > detectron_job_attempt{{{JOB}}} offset $__interval) * 0"
            " + time() * 1000",
            "red",
        ),
    ),
)
