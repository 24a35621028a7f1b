"""What follows from the end of an attempt: the user's rules, in their order, before what we would do."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal, get_args

from detectron_operator.api import fields
from detectron_operator.api.fields import Raw
from detectron_operator.shape import ShapeError

Action = Literal["Fail", "Restart", "RestartWithoutCounting"]
"""`Restart` counts against backoffLimit."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """An action for the endings that every one of its sets applies to; an empty set applies to all."""

    action: Action
    reasons: frozenset[str] = frozenset()
    exit_codes: frozenset[int] = frozenset()
    signals: frozenset[str] = frozenset()
    conditions: frozenset[str] = frozenset()

    def matches(
        self, *, reason: str, exit_code: int | None, signal: str | None, conditions: Set[str]
    ) -> bool:
        """Whether the rule is about an attempt that ended like this; `conditions` are types that are true."""
        return (
            (not self.reasons or reason in self.reasons)
            and (not self.exit_codes or exit_code in self.exit_codes)
            and (not self.signals or signal in self.signals)
            and (not self.conditions or not self.conditions.isdisjoint(conditions))
        )


def failure_rules(run_policy: Raw, path: str) -> tuple[Rule, ...]:
    """The rules of `failurePolicy`, none where it is absent."""
    if "failurePolicy" not in run_policy:
        return ()
    policy = fields.part(run_policy, path, "failurePolicy")
    return tuple(_rule(raw, where) for raw, where in fields.objects(policy, f"{path}.failurePolicy", "rules"))


def _rule(raw: Raw, path: str) -> Rule:
    asked = fields.text(raw, path, "action")
    action = next((known for known in get_args(Action) if known == asked), None)
    if action is None:
        raise ShapeError(f"{path}.action", f"is {asked!r}, must be one of {', '.join(get_args(Action))}")
    return Rule(
        action=action,
        reasons=frozenset(fields.texts(raw, path, "onReasons")),
        exit_codes=frozenset(fields.integers(raw, path, "onExitCodes", at_least=0, at_most=255)),
        signals=frozenset(fields.texts(raw, path, "onSignals")),
        conditions=frozenset(fields.texts(raw, path, "onPodConditions")),
    )
