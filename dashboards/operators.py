"""The operator itself: whether it keeps up, and what the API server answers it."""

from __future__ import annotations

from dashboards.board import Board, Row
from dashboards.panels import Query, graph, number


def rate(counter: str, by: str) -> str:
    """The rate of a counter of the operator, by a label."""
    return f"sum by ({by}) (rate(detectron_operator_{counter}[$__rate_interval]))"


def quantile(of: float) -> str:
    """A quantile of the time that a reconcile took of late."""
    buckets = "rate(detectron_operator_reconcile_duration_seconds_bucket[$__rate_interval])"
    return f"histogram_quantile({of}, sum by (le) ({buckets}))"


BOARD = Board(
    uid="detectron-operator",
    title="Detectron / Operator",
    description="The operator: reconciles, queue, requests to the API server, memory.",
    since="now-3h",
    rows=(
        Row(
            "Whether it works",
            [
                number(
                    "Leaders",
                    "Operators that work; one is right.",
                    Query("sum(detectron_operator_leader)"),
                ),
                number(
                    "Waiting",
                    "Jobs that wait for a worker.",
                    Query("sum(detectron_operator_workqueue_depth)"),
                    unit="none",
                ),
                number(
                    "Oldest",
                    "Age of the job that waits or is being worked on the longest.",
                    Query("max(detectron_operator_workqueue_oldest_age_seconds)"),
                    unit="s",
                    steps=((None, "green"), (5, "orange"), (60, "red")),
                ),
                number(
                    "Last resync",
                    "Time since all jobs and pods were compared with the API server.",
                    Query("time() - max(detectron_operator_last_resync_timestamp_seconds)"),
                    unit="s",
                ),
                number(
                    "Jobs it cannot read",
                    "Jobs whose status is not of the expected shape.",
                    Query("max(detectron_operator_unreadable_jobs)"),
                    unit="none",
                    steps=((None, "green"), (1, "red")),
                ),
                number(
                    "Version",
                    "What runs.",
                    Query("count by (version) (detectron_operator_build_info)", "{{version}}"),
                    named=True,
                ),
            ],
        ),
        Row(
            "Reconciles",
            [
                graph(
                    "Reconciles",
                    "Jobs looked at in a second, by what came out.",
                    Query(rate("reconcile_total", "result"), "{{result}}"),
                ),
                graph(
                    "Time of a reconcile",
                    "From taking a job off the queue to its last request.",
                    Query(quantile(0.5), "p50"),
                    Query(quantile(0.99), "p99"),
                    unit="s",
                ),
            ],
        ),
        Row(
            "Requests",
            [
                graph(
                    "Requests to the API server",
                    "Requests in a second, by verb and answer.",
                    Query(rate("api_requests_total", "verb, code"), "{{verb}} {{code}}"),
                ),
                graph(
                    "Looks at progress documents",
                    "Polls of rank 0's /progress in a second, by what came out.",
                    Query(rate("progress_polls_total", "result"), "{{result}}"),
                ),
            ],
        ),
        Row(
            "Size",
            [
                graph(
                    "Objects held",
                    "Jobs and pods in the operator's memory.",
                    Query("max by (resource) (detectron_operator_cache_objects)", "{{resource}}"),
                    unit="none",
                ),
                graph(
                    "Events lost",
                    "Kubernetes events that the API server did not take, in a second.",
                    Query("sum(rate(detectron_operator_events_lost_total[$__rate_interval]))", "lost"),
                ),
            ],
        ),
    ),
)
