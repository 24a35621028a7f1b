"""The operator in a job's life: it plans from what it knows, and does all of it or dies in between."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import rule

from detectron_operator import progress as progress_document
from detectron_operator import reasons
from detectron_operator.api import parse
from detectron_operator.plan import Plan, Refusal, plan
from detectron_operator.progress import Progress
from detectron_operator.reasons import Reason
from tests.unit.life_promises import Promises
from tests.unit.life_world import TERMINAL
from tests.unit.operator_objects import DEFAULTS, document, work


class Operated(Promises):
    """What the operator may do, and what may happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.iteration = 0
        """How far rank 0 has come; it `got_on` at that moment, and tells nobody while it is `mute`."""
        self.got_on = 0.0
        self.mute = False

    @rule()
    def reconcile(self) -> None:
        self._execute(self._plan())

    @rule(survives=st.integers(0, 4), data=st.data())
    def reconcile_and_crash(self, survives: int, data: st.DataObject) -> None:
        step = self._plan()
        self._execute(replace(step, create=tuple(data.draw(st.permutations(step.create)))), survives)
        # Whoever works next lists all.
        self.world.catch_up()

    @rule(taken=st.integers(0, 3), reason=st.sampled_from(sorted(reasons.REFUSALS)))
    def a_child_is_refused(self, taken: int, reason: Reason) -> None:
        """Some of the children are taken, one is not; then that is told, and nothing else done."""
        step = self._plan()
        if not step.create:
            return
        self._execute(step, min(taken, len(step.create) - 1))
        told = self._plan(Refusal(reason, "exceeded quota: few"))
        if told.status is not None:
            self.write(told.status)

    def _plan(self, refusal: Refusal | None = None) -> Plan:
        """From what the operator knows; before an end, of the job or of an attempt, it lists all pods."""
        step = self._planned(refusal)
        status = step.status or self.status
        ends = status.get("phase") in TERMINAL and self.status.get("phase") not in TERMINAL
        moves = any(status.get(field) != self.status.get(field) for field in ("attempt", "replacements"))
        if not (ends or (self.status and moves)):
            return step
        self.world.catch_up()
        return self._planned(refusal)

    def _planned(self, refusal: Refusal | None) -> Plan:
        arguments = (parse(self.raw), self.world.observed(), self._polled(), self.now(), DEFAULTS, refusal)
        first = plan(*arguments, mute=self.mute)
        assert plan(*arguments, mute=self.mute) == first
        return first

    def _execute(self, step: Plan, survives: int | None = None) -> None:
        """Creates, deletions, status; only the first so many of them where the operator crashes."""
        actions: list[Callable[[], None]] = []
        actions += [partial(self.create, child.kind, child.manifest) for child in step.create]
        actions += [partial(self.world.delete, asked) for asked in step.delete]
        if step.status is not None:
            actions.append(partial(self.write, step.status))
        for action in actions[:survives]:
            action()

    @rule()
    def watches_are_late(self) -> None:
        self.world.fall_behind()

    @rule()
    def watches_are_in_time(self) -> None:
        self.world.catch_up()

    def _polled(self) -> Progress | None:
        running = [pod for pod in self.world.gang if pod.index == 0 and pod.phase == "Running"]
        if not running or self.mute:
            return None
        attempt = running[0].attempt
        told = work(attempt, trained=min(self.iteration, 50), idle=self.world.seconds - self.got_on)
        said = document(attempt, self.iteration, at=self.world.seconds, work=told)
        return progress_document.parse(json.dumps(said))
