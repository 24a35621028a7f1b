"""All jobs: how many do what, who waits, who is silent, and why jobs restart and fail."""

from __future__ import annotations

from dashboards.board import NAMESPACE, Board, Row
from dashboards.panels import Query, bars, graph, listing, number

JOBS = 'job_namespace=~"$namespace"'
NAMED = "{{job_namespace}}/{{training_job}}"
JOB_LINK = "/d/detectron-job?var-namespace=${__data.fields.Namespace}&var-training_job=${__data.fields.Job}"


def in_phase(phases: str) -> str:
    """1 for each job that is in one of the phases."""
    return f'(detectron_job_status_phase{{{JOBS},phase=~"{phases}"}} == 1)'


def count(phases: str) -> str:
    """How many jobs are in one of the phases; 0 where none is."""
    return f"sum({in_phase(phases)}) or vector(0)"


def age(of: str, phases: str) -> str:
    """Seconds since a timestamp of the jobs in one of the phases."""
    identity = "job_namespace, training_job"
    return f"(time() - detectron_job_{of}_timestamp_seconds{{{JOBS}}}) and on ({identity}) {in_phase(phases)}"


BOARD = Board(
    uid="detectron-fleet",
    title="Detectron / Fleet",
    description="All DetectronTrainingJobs: phases, waiting, silence, restarts and failures.",
    variables=(NAMESPACE,),
    rows=(
        Row(
            "Now",
            [
                number("Running", "Jobs whose gang runs.", Query(count("Running")), unit="none"),
                number("Pending", "Jobs that wait for their pods.", Query(count("New|Pending")), unit="none"),
                number(
                    "Restarting",
                    "Jobs between two attempts.",
                    Query(count("Restarting")),
                    unit="none",
                    steps=((None, "blue"), (1, "orange")),
                ),
                number("Suspended", "Jobs that are held.", Query(count("Suspended")), unit="none"),
                number("Succeeded", "Jobs that are complete.", Query(count("Succeeded")), unit="none"),
                number(
                    "Failed",
                    "Jobs that ended without a model.",
                    Query(count("Failed")),
                    unit="none",
                    steps=((None, "blue"), (1, "red")),
                ),
            ],
        ),
        Row(
            "Jobs",
            [
                graph(
                    "Jobs by phase",
                    "How many jobs are in each phase.",
                    Query(f"sum by (phase) (detectron_job_status_phase{{{JOBS}}})", "{{phase}}"),
                    unit="none",
                    stacked=True,
                ),
                graph(
                    "Throughput",
                    "Images trained on in a second, by job.",
                    Query(
                        "topk(10, sum by (namespace, training_job) "
                        '(rate(detectron_training_images_total{namespace=~"$namespace"}[$__rate_interval])))',
                        "{{namespace}}/{{training_job}}",
                    ),
                ),
                listing(
                    "Progress of the jobs that are under way",
                    "The least first; a click leads to the job's board.",
                    Query(
                        f"detectron_job_progress_ratio{{{JOBS}}} and on (job_namespace, training_job) "
                        f"{in_phase('Running|Restarting|Pending')}"
                    ),
                    columns={"job_namespace": "Namespace", "training_job": "Job", "Value": "Progress"},
                    unit="percentunit",
                    worst_first="Progress",
                    width=12,
                    link=JOB_LINK,
                ),
                bars(
                    "Longest silence",
                    "Time since running jobs last told of progress.",
                    Query(
                        f"topk(10, {age('last_progress', 'Running')})", "{{job_namespace}}/{{training_job}}"
                    ),
                    unit="s",
                ),
            ],
        ),
        Row(
            "What goes wrong",
            [
                bars(
                    "Longest waiting",
                    "Age of the jobs whose pods do not run yet.",
                    Query(f"topk(10, {age('created', 'New|Pending')})", NAMED),
                    unit="s",
                ),
                graph(
                    "Restarts by cause",
                    "Of the jobs that are there, since they began, by the reason why an attempt ended.",
                    Query(f"sum by (reason) (detectron_job_restarts_total{{{JOBS}}})", "{{reason}}"),
                    unit="none",
                    stacked=True,
                ),
                bars(
                    "Time lost by cause",
                    "Time without progress and time of iterations trained in vain, over all jobs.",
                    Query(f"sum by (cause) (detectron_job_lost_seconds{{{JOBS}}})", "{{cause}}"),
                    unit="s",
                ),
                bars(
                    "Failures by reason",
                    "Failed jobs that are still there, by the reason in their status.",
                    Query(f"sum by (reason) (detectron_job_failure_info{{{JOBS}}})", "{{reason}}"),
                    unit="none",
                ),
            ],
        ),
    ),
)
