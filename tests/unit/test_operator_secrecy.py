"""What a job says in its environment the operator does not repeat, even where it cannot read it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from detectron_operator import reasons
from detectron_operator.api import SpecError, parse
from detectron_operator.job_metrics import JobCollector
from detectron_operator.plan import Plan, Refusal, plan, plan_invalid
from tests.unit.operator_objects import DEFAULTS, after, failed, gang, raw_job, succeeded

WORD = "password-c03e"

JUNK = st.recursive(
    st.sampled_from([WORD, None, True, 7]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "key"]), inner),
    max_leaves=4,
)
"""What an API server without our schema might have stored."""
VARIABLE: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"name": st.just("TOKEN") | JUNK},
    optional={
        "value": st.just(WORD) | JUNK,
        "valueFrom": st.dictionaries(st.sampled_from(["secretKeyRef", "configMapKeyRef"]), JUNK) | JUNK,
    },
)
SOURCE = st.fixed_dictionaries({}, optional={"secretRef": JUNK, "configMapRef": JUNK, "prefix": JUNK})
SITUATIONS = {
    "new": [],
    "running": gang(),
    "failed": [failed(0), failed(1)],
    "ended": [succeeded(), *gang()[1:]],
}


@given(
    env=st.lists(VARIABLE, max_size=3) | JUNK,
    env_from=st.lists(SOURCE, max_size=2) | JUNK,
    pods=st.sampled_from(sorted(SITUATIONS)),
    refused=st.booleans(),
)
@example(env=[{"name": "TOKEN", "value": WORD}], env_from=[], pods="failed", refused=False)
def test_no_value_is_told(env: object, env_from: object, pods: str, refused: bool) -> None:
    raw = raw_job(env=env, envFrom=env_from)
    refusal = Refusal(reasons.CREATE_REFUSED, "exceeded quota") if refused else None
    step = _next(raw, pods, refusal)
    registry = CollectorRegistry()
    registry.register(JobCollector(lambda: [raw | {"status": step.status or {}}], lambda: after(60)))
    told = {
        "status": json.dumps(step.status),
        "events": repr(step.events),
        "metrics": generate_latest(registry).decode(),
    }
    assert [place for place, text in told.items() if WORD in text] == []


def _next(raw: dict[str, Any], pods: str, refusal: Refusal | None) -> Plan:
    try:
        job = parse(raw)
    except SpecError as error:
        return plan_invalid(raw, SITUATIONS[pods], error, after(60))
    return plan(job, SITUATIONS[pods], None, after(60), DEFAULTS, refusal)
