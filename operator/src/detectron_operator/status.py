"""`.status`: what the stored one says was decided, and the phase and metav1 conditions of the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from detectron_operator import reasons, shape
from detectron_operator.history import History, read_history
from detectron_operator.numbers import timestamp
from detectron_operator.reasons import Reason

_MAX_MESSAGE = 1024

_TRUE_IN = {
    "Suspended": reasons.SUSPENDED,
    "Running": reasons.RUNNING,
    "Restarting": reasons.RESTARTING,
    "Complete": reasons.SUCCEEDED,
    "Failed": reasons.FAILED,
}
"""Each condition is true in one phase."""

_CHILDREN_UNKNOWN = frozenset(
    {
        "",
        reasons.CHECKING,
        reasons.CHECK_PASSED,
        reasons.CREATING,
        reasons.BACK_OFF,
        *reasons.REFUSALS,
    }
)


@dataclass(frozen=True, kw_only=True)
class Words:
    """A machine's reason and a person's message."""

    reason: Reason
    message: str

    @property
    def bounded(self) -> str:
        """The message within the schema's bound."""
        return self.message if len(self.message) <= _MAX_MESSAGE else self.message[: _MAX_MESSAGE - 1] + "…"


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What the stored status says of decisions already made; all empty at first."""

    phase: str
    reason: str
    history: History
    started: bool

    @property
    def finished(self) -> bool:
        """Terminal phases never leave."""
        return self.phase in reasons.TERMINAL

    @property
    def suspended(self) -> bool:
        """Whether pods were, or are being, deleted for runPolicy.suspend."""
        return self.phase == reasons.SUSPENDED or self.reason == reasons.SUSPENDING

    @property
    def queued(self) -> bool:
        """Whether the whole gang is held back; survivors that wait for a replacement hold their nodes."""
        return self.reason == reasons.SCHEDULING_GATED and not self.history.replacements

    @property
    def children_known(self) -> bool:
        """Whether the attempt's Service, ConfigMap and pods are known to have been created."""
        return self.reason not in _CHILDREN_UNKNOWN


def read(status: Mapping[str, object]) -> Stored:
    """The stored decisions; the reason is that of condition Running, which is there from the first on."""
    running = _condition(status, "Running")
    return Stored(
        phase=shape.text(status.get("phase", ""), "status.phase", at_most=32),
        reason=shape.text(running.get("reason", ""), "status.conditions[Running].reason", at_most=1024),
        history=read_history(status),
        started="startTime" in status,
    )


def conditions(
    stored: Mapping[str, object],
    *,
    phase: str,
    words: Words,
    cause: Words | None,
    generation: int,
    now: datetime,
) -> list[dict[str, object]]:
    """All conditions in a phase; Running is always there, the others from when they were first true.

    `words` are those of the moment. `cause` is why the phase was entered, where that differs: Restarting
    keeps it for as long as it is true, and a condition that ends carries it.
    """
    found: list[dict[str, object]] = []
    for kind, home in _TRUE_IN.items():
        old = _condition(stored, kind)
        value = "True" if phase == home else "False"
        if not old and value == "False" and kind != "Running":
            continue
        turned = old.get("status") != value
        said = _news(kind, old, value, words, cause)
        found.append(
            {
                "type": kind,
                "status": value,
                "observedGeneration": generation,
                "lastTransitionTime": timestamp(now) if turned else old.get("lastTransitionTime"),
                "reason": said.reason if said else old.get("reason"),
                "message": said.bounded if said else old.get("message"),
            }
        )
    return found


def _news(
    kind: str, old: Mapping[str, object], value: str, words: Words, cause: Words | None
) -> Words | None:
    """What a condition says now, None where what it said before stands."""
    if kind == "Running" or (value == "True" and kind != "Restarting"):
        return words
    if old.get("status") != value or (value == "True" and cause is not None):
        return cause or words
    return None


def condition_reason(status: Mapping[str, object], kind: str) -> str | None:
    """The reason of a condition that is true, None otherwise."""
    condition = _condition(status, kind)
    return str(condition.get("reason")) if condition.get("status") == "True" else None


def true_since(status: Mapping[str, object], kind: str) -> datetime | None:
    """When a condition that is true became so, None where it is not."""
    condition = _condition(status, kind)
    if condition.get("status") != "True":
        return None
    return shape.time(condition.get("lastTransitionTime"), f"status.conditions[{kind}].lastTransitionTime")


def turned(status: Mapping[str, object], kind: str) -> datetime | None:
    """When a condition last changed, None where there is none."""
    condition = _condition(status, kind)
    if not condition:
        return None
    return shape.time(condition.get("lastTransitionTime"), f"status.conditions[{kind}].lastTransitionTime")


def changed_fields(stored: Mapping[str, object], desired: Mapping[str, object]) -> frozenset[str]:
    """Top-level fields in which two statuses differ."""
    return frozenset(
        field for field in stored.keys() | desired.keys() if stored.get(field) != desired.get(field)
    )


def _condition(status: Mapping[str, object], kind: str) -> Mapping[str, object]:
    listed = status.get("conditions", ())
    items: Sequence[object] = shape.sequence(listed, "status.conditions", at_most=64)
    found = (shape.mapping(item, "status.conditions") for item in items)
    return next((item for item in found if item.get("type") == kind), {})
