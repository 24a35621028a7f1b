"""A job's life under any order of what can happen.

Pods run, end, vanish and are taken away, users suspend and resume, time passes and is set back, children are
refused, watches are late, and the operator crashes between any two of its writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from tests.unit.life_operator import Operated
from tests.unit.life_world import TERMINAL, Instance
from tests.unit.operator_objects import document, verdict

LARGEST = 3
FIXED_POINT = 4
"""Steps within which an unchanging world is settled."""

RULES = st.lists(
    st.fixed_dictionaries(
        {"action": st.sampled_from(["Fail", "Restart", "RestartWithoutCounting"])},
        optional={
            "onReasons": st.just(["OutOfMemory", "PodDeleted"]),
            "onExitCodes": st.just([1]),
            "onPodConditions": st.just(["DisruptionTarget"]),
        },
    ),
    max_size=2,
)

VERDICTS = st.sampled_from(
    [
        None,
        verdict("ProcessFailed", retryable=True),
        verdict("Preempted", retryable=True),
        verdict("OutOfMemory", retryable=True, message="CUDA out of memory"),
        verdict("InvalidConfig", retryable=False, message="no such key"),
        verdict("Completed", retryable=False),
    ]
)

DEADLINES = st.fixed_dictionaries(
    {},
    optional={
        "activeDeadlineSeconds": st.sampled_from([30, 900]),
        "startupDeadlineSeconds": st.just(20),
        "progressDeadlineSeconds": st.sampled_from([0, 10]),
    },
)


Fits = Callable[[Instance], bool]
Rule = TypeVar("Rule", bound=Callable[..., None])


def alive(pod: Instance) -> bool:
    return pod.alive


def pending(pod: Instance) -> bool:
    return pod.phase == "Pending"


def running(pod: Instance) -> bool:
    return pod.phase == "Running"


def rank_0(pod: Instance) -> bool:
    return running(pod) and pod.index == 0 and not pod.checks


def deleting(pod: Instance) -> bool:
    return pod.deleting


def anyone(_pod: Instance) -> bool:
    return True


def there_is(fits: Fits) -> Callable[[Rule], Rule]:
    """A rule that needs such a pod; one that found out for itself would end the whole example."""
    found: Callable[[Rule], Rule] = precondition(lambda life: any(map(fits, life.world.pods.values())))
    return found


class Life(Operated):
    """What may happen, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.hung = -1
        self.set_back = 0

    @initialize(
        size=st.integers(1, LARGEST),
        limit=st.integers(0, 2),
        within=st.integers(0, 2),
        elastic=st.booleans(),
        checked=st.booleans(),
        policy=st.fixed_dictionaries(
            {
                "suspend": st.sampled_from([False, False, False, True]),
                "maxBackoffSeconds": st.sampled_from([0, 10, 300]),
                "cleanPodPolicy": st.sampled_from(["Running", "All"]),
                "failurePolicy": st.fixed_dictionaries({"rules": RULES}),
            }
        ),
        deadlines=DEADLINES,
        runs=st.sampled_from([True, True, False]),
    )
    def create_job(
        self,
        size: int,
        limit: int,
        within: int,
        elastic: bool,
        checked: bool,
        policy: dict[str, Any],
        deadlines: dict[str, int],
        runs: bool,
    ) -> None:
        self.size, self.limit, self.within = size, limit, within
        bounds = {"minNodes": 1, "maxNodes": size} if elastic else {}
        self.raw["spec"] |= {
            "numNodes": size,
            "elasticPolicy": {"maxRestarts": within, **bounds},
            "preflight": self.raw["spec"]["preflight"] | {"enabled": checked},
            "runPolicy": {**policy, "backoffLimit": limit, **deadlines},
        }
        if runs:
            self.nothing_is_in_the_way()

    # The cluster.

    def _draw(self, data: st.DataObject, fits: Fits) -> str:
        return data.draw(st.sampled_from(sorted(p.name for p in self.world.pods.values() if fits(p))))

    @there_is(anyone)
    @rule(data=st.data())
    def a_watch_tells_of_a_pod(self, data: st.DataObject) -> None:
        self.world.tell_of(self._draw(data, anyone))

    @there_is(pending)
    @rule(data=st.data())
    def pod_is_bound(self, data: st.DataObject) -> None:
        self.world.change(self._draw(data, pending), bound=True)

    @there_is(pending)
    @rule(data=st.data())
    def pod_runs(self, data: st.DataObject) -> None:
        self.world.change(self._draw(data, pending), phase="Running")

    @there_is(pending)
    @rule()
    def all_pods_run(self) -> None:
        for pod in filter(pending, self.world.pods.values()):
            self.world.change(pod.name, phase="Running")

    @rule()
    def nothing_is_in_the_way(self) -> None:
        """Whatever is to be done first is done, and the gang runs: most of what can go wrong begins here."""
        self.world.catch_up()
        for _ in range(FIXED_POINT):
            self.reconcile()
            self.world.finish_deletions()
            for pod in self.world.pods.values():
                if pod.checks and pod.alive:
                    self._succeed(pod.name)
                elif pod.phase == "Pending":
                    self.world.change(pod.name, bound=True, phase="Running")

    @there_is(alive)
    @rule(data=st.data(), said=VERDICTS, disrupted=st.booleans())
    def pod_fails(self, data: st.DataObject, said: dict[str, Any] | None, disrupted: bool) -> None:
        name = self._draw(data, alive)
        attempt = self.world.pods[name].attempt
        words = None if said is None else json.dumps(document(attempt, self.iteration, verdict=said))
        self.world.change(name, phase="Failed", words=words, disrupted=disrupted)

    @rule(index=st.integers(0, LARGEST - 1))
    def a_process_dies_and_the_kubelets_are_quick(self, index: int) -> None:
        for pod in self.world.gang:
            if pod.alive and pod.index == index:
                self.world.change(pod.name, phase="Failed")
        for _ in range(FIXED_POINT):
            self.reconcile()
            self.world.finish_deletions()

    @there_is(running)
    @rule(data=st.data())
    def a_running_pod_is_deleted_and_its_kubelet_is_slow(self, data: st.DataObject) -> None:
        self.world.stop(self._draw(data, running), 30)
        for _ in range(FIXED_POINT):
            self.reconcile()
            self.never_two_pods_at_one_index()

    @there_is(running)
    @rule(data=st.data())
    def pod_succeeds(self, data: st.DataObject) -> None:
        self._succeed(self._draw(data, running))

    def _succeed(self, name: str) -> None:
        words = json.dumps(document(self.world.pods[name].attempt, 1000, phase="Finished"))
        self.world.change(name, phase="Succeeded", words=words)

    @there_is(pending)
    @rule(data=st.data())
    def node_rejects(self, data: st.DataObject) -> None:
        self.world.change(self._draw(data, pending), phase="Failed", rejected=True)

    @there_is(running)
    @rule(data=st.data())
    def node_is_lost(self, data: st.DataObject) -> None:
        self.world.change(self._draw(data, running), unreachable_since=self.world.seconds)

    @there_is(alive)
    @rule(data=st.data())
    def node_comes_back(self, data: st.DataObject) -> None:
        self.world.change(self._draw(data, alive), unreachable_since=None)

    @there_is(anyone)
    @rule(data=st.data())
    def somebody_deletes(self, data: st.DataObject) -> None:
        self.world.stop(self._draw(data, anyone), 30)

    @there_is(deleting)
    @rule(data=st.data())
    def pod_is_gone(self, data: st.DataObject) -> None:
        del self.world.pods[self._draw(data, deleting)]

    @rule(value=st.booleans())
    def user_suspends_or_resumes(self, value: bool) -> None:
        if self.raw["spec"]["runPolicy"]["suspend"] != value:
            self.raw["spec"]["runPolicy"] = {**self.raw["spec"]["runPolicy"], "suspend": value}
            self.raw["metadata"]["generation"] += 1

    @precondition(lambda self: self.elastic)
    @rule(nodes=st.integers(1, LARGEST))
    def user_scales(self, nodes: int) -> None:
        self.raw["spec"]["numNodes"] = min(nodes, self.size)
        self.raw["metadata"]["generation"] += 1

    @rule(seconds=st.one_of(st.integers(0, 20), st.just(600)))
    def time_passes(self, seconds: int) -> None:
        self.world.seconds += seconds
        newest = max((pod.attempt for pod in self.world.gang), default=0)
        if newest != self.hung:
            self.iteration = min(1000, self.iteration + seconds)
            self.got_on = self.world.seconds

    @rule(seconds=st.sampled_from([1, 20, 3600]))
    def the_clock_is_set_back(self, seconds: int) -> None:
        self.world.seconds -= seconds
        self.got_on -= seconds
        self.set_back += seconds

    @there_is(rank_0)
    @rule()
    def a_process_hangs(self) -> None:
        self.hung = max(pod.attempt for pod in self.world.gang)

    @there_is(rank_0)
    @rule(data=st.data(), mute=st.booleans())
    def rank_0_stands_still_or_gets_on(self, data: st.DataObject, mute: bool) -> None:
        name = self._draw(data, rank_0)
        self.mute = mute
        self.world.change(name, unready_since=self.world.seconds if mute else None)

    # Where it leads.

    @there_is(anyone)
    @rule()
    def an_unchanging_world_settles(self) -> None:
        self.world.catch_up()
        for _ in range(FIXED_POINT):
            self.reconcile()
        settled = self._plan()
        assert (settled.create, settled.delete, settled.status, settled.events) == ((), (), None, ())
        surplus = [p for p in self.world.gang if p.index >= self.raw["spec"]["numNodes"] and p.alive]
        if self.status["phase"] == "Succeeded":
            surplus = []  # they end by themselves, or soon
        assert all(pod.deleting for pod in surplus)
        assert settled.requeue_after is None or settled.requeue_after > 0

    def teardown(self) -> None:
        """From wherever it is, a job that is let be comes to its end and frees what it holds."""
        self.user_suspends_or_resumes(False)
        self.world.catch_up()
        self.mute = False
        self.time_passes(self.set_back)
        for _ in range(30):
            self.time_passes(100)
            self.reconcile()
            self.world.finish_deletions()
            for pod in self.world.pods.values():
                if pod.alive:
                    self.world.change(pod.name, phase="Running", unready_since=None)
            trains = self.status["phase"] == "Running"
            newest = max((pod.attempt for pod in self.world.gang), default=0)
            for pod in self.world.pods.values():
                first = trains and pod.attempt == newest and pod.index == 0
                if pod.alive and (pod.checks or first):
                    self._succeed(pod.name)
            self.the_end_is_the_end()
        assert self.status["phase"] in TERMINAL
        assert not any(pod.alive for pod in self.world.pods.values())
        assert "eta" not in self.status


TestLife = Life.TestCase
