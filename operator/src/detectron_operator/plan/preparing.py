"""Pods that a node has taken and cannot prepare: whom to ask for the reason, and when."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from detectron_operator.situation import Situation
from detectron_operator.steps import Plan

PATIENCE = timedelta(seconds=5)
"""Most pods are prepared by then."""
AGAIN = timedelta(seconds=10)
"""Between two looks at what is said of a pod."""


def asking(step: Plan, s: Situation) -> Plan:
    """The step that asks for what is said of the first such pod, where nobody has said it yet."""
    stuck = next((pod for _, pod in sorted(s.gang.current.items()) if pod.unprepared_since is not None), None)
    if stuck is None or stuck.unprepared_since is None:
        return step
    left = stuck.unprepared_since + PATIENCE - s.now
    if left > timedelta():
        return _again(step, left)
    return _again(step if stuck.reason else replace(step, look_into=stuck.uid), AGAIN)


def _again(step: Plan, after: timedelta) -> Plan:
    seconds = after.total_seconds()
    return replace(step, requeue_after=min(seconds, step.requeue_after or seconds))
