"""What to do next for a job: one pure function from what is observed to a plan that the engine executes.

The engine creates and deletes, then writes the status, then posts the events. It may die between any two of
these: the next plan, made from what is then observed, goes on from there.

`decision` has the rules in their order; each other module is one kind of step.
"""

from __future__ import annotations

from detectron_operator.plan.decision import plan
from detectron_operator.plan.invalid import plan_invalid
from detectron_operator.steps import CreateChild, Defaults, DeletePod, Event, Plan, Refusal

__all__ = ["CreateChild", "Defaults", "DeletePod", "Event", "Plan", "Refusal", "plan", "plan_invalid"]
