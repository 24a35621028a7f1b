"""What a plan tells, word by word, held to docs/reasons.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectron_operator import reasons
from detectron_operator.plan import Plan
from reference.reasons import of_operator

ROWS = {row.word: row for row in of_operator()}
FAILURE = "failure"

_ENTERED = {
    reasons.RESTARTING: "Restarting",
    reasons.SUSPENDED: "Suspended",
    reasons.SUCCEEDED: "Complete",
    reasons.FAILED: "Failed",
}


def documented(word: str) -> set[str]:
    """The places of a word, by the reference: conditions, `failure`, and the type of its event."""
    row = ROWS[word]
    return {*row.conditions, *([row.event] if row.event else []), *([FAILURE] if row.failure else [])}


def told(step: Plan) -> set[tuple[str, str]]:
    """Each word that a plan tells, with its place."""
    found = {(str(event.reason), str(event.type)) for event in step.events}
    status: Mapping[str, Any] = step.status or {}
    phase = status.get("phase")
    if "failure" in status:
        found.add((status["failure"]["reason"], FAILURE))
    for condition in status.get("conditions", ()):
        kind = condition["type"]
        # Running has what is the matter while the job is on its way; Suspended, why it is over.
        on_its_way = phase not in {*reasons.TERMINAL, reasons.SUSPENDED}
        if condition["status"] == "True" or (on_its_way and kind in ("Running", "Suspended")):
            found.add((condition["reason"], kind))
    return found


def held_to_the_reference(before: Mapping[str, Any], step: Plan) -> Plan:
    """The plan, which tells words where the reference says, and events at transitions alone."""
    if before and "conditions" not in before:
        return step  # A status that a test has written by hand, without the words that came before.
    status: Mapping[str, Any] = step.status or {}
    failed = status.get("phase") == reasons.FAILED
    # A rule of failurePolicy makes a failure of any word that ends an attempt.
    fatal = {"Failed", "Warning"} if failed else set()
    for word, place in told(step):
        if word in ROWS:
            known = documented(word)
            assert place in known | (fatal if FAILURE in known else set()), (word, place)
    assert len(step.events) <= 1
    assert not step.events or step.status is not None, "an event without a transition"
    phase = status.get("phase")
    if phase in _ENTERED and phase != before.get("phase"):
        (event,) = step.events
        (entered,) = (item for item in status["conditions"] if item["type"] == _ENTERED[phase])
        assert (event.reason, failed and event.type) == (entered["reason"], failed and "Warning")
    return step
