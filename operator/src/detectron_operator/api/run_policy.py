"""When to run, to try again and to give up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from detectron_operator.api import fields
from detectron_operator.api.failure_policy import Rule, failure_rules
from detectron_operator.api.fields import Raw

_PATH = "spec.runPolicy"


@dataclass(frozen=True, kw_only=True)
class RunPolicy:
    """`suspend` stops the gang; `backoff_limit` bounds its counted restarts, `max_backoff` the pauses."""

    suspend: bool
    backoff_limit: int
    max_backoff: timedelta
    failure_rules: tuple[Rule, ...]


def run_policy(spec: Raw) -> RunPolicy:
    """`spec.runPolicy`."""
    raw = fields.part(spec, "spec", "runPolicy")
    return RunPolicy(
        suspend=fields.boolean(raw, _PATH, "suspend"),
        backoff_limit=fields.integer(raw, _PATH, "backoffLimit", at_least=0, at_most=1000),
        max_backoff=timedelta(
            seconds=fields.integer(raw, _PATH, "maxBackoffSeconds", at_least=0, at_most=3600)
        ),
        failure_rules=failure_rules(raw, _PATH),
    )
