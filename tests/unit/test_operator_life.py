"""A job's life under any order of what can happen.

Pods run, end, vanish and are taken away, users suspend and resume, time passes, and the operator crashes
between any two of its writes.

The cluster here is a model of the API server and the kubelets: it knows names, uids, phases and deletion.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from detectron_operator import progress as progress_document
from detectron_operator.api import parse
from detectron_operator.observed import Pod, observe_pod
from detectron_operator.plan import DeletePod, Plan, plan
from detectron_operator.progress import Progress
from tests.unit.operator_objects import (
    DEFAULTS,
    after,
    document,
    raw_job,
    raw_pod,
    unreachable,
    verdict,
    work,
)

CRD = yaml.safe_load((Path(__file__).parents[2] / "crds" / "detectrontrainingjobs.yaml").read_text())
STATUS = jsonschema.Draft202012Validator(
    CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    | {"additionalProperties": False}
)
TERMINAL = ("Succeeded", "Failed")
SIZE = 2
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


@dataclass(frozen=True)
class Instance:
    """A pod that exists."""

    attempt: int
    index: int
    uid: int
    replacement: int = 0
    phase: str = "Pending"
    created: float = 0.0
    bound: bool = False
    stop_by: float | None = None
    grace: int = 0
    unreachable_since: float | None = None
    words: str | None = None
    disrupted: bool = False
    rejected: bool = False

    @property
    def deleting(self) -> bool:
        return self.stop_by is not None

    @property
    def alive(self) -> bool:
        return self.phase not in TERMINAL

    def observed(self) -> Pod:
        ended = {"exitCode": 0 if self.phase == "Succeeded" else 1, "message": self.words}
        target = {
            "type": "DisruptionTarget",
            "status": str(self.disrupted),
            "reason": "EvictionByEvictionAPI",
        }
        raw = raw_pod(
            self.attempt,
            self.index,
            self.phase,
            terminated=None
            if self.alive or self.rejected
            else {k: v for k, v in ended.items() if v is not None},
            conditions=[
                target,
                *([] if self.unreachable_since is None else unreachable(self.unreachable_since)),
            ],
            reason="OutOfcpu" if self.rejected else "",
            created=self.created,
        )
        if not self.bound and self.phase == "Pending":
            del raw["spec"]["nodeName"]
        raw["metadata"]["uid"] = f"pod-{self.uid}"
        if self.replacement:
            raw["metadata"]["name"] += f"r{self.replacement}"
            raw["metadata"]["labels"]["detectron.dev/replacement"] = str(self.replacement)
        if self.stop_by is not None:
            raw["metadata"]["deletionTimestamp"] = after(self.stop_by).isoformat()
            raw["metadata"]["deletionGracePeriodSeconds"] = self.grace
        pod = observe_pod(raw)
        assert pod is not None
        return pod


class Life(RuleBasedStateMachine):
    """What may happen, in any order, and what must hold throughout."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = raw_job()
        self.pods: dict[str, Instance] = {}
        self.services = 0
        self.uids = 0
        self.seconds = 0.0
        self.iteration = 0
        self.got_on = 0.0
        self.hung = -1
        self.limit = self.within = 0
        self.seen_attempt = self.seen_restarts = 0
        self.ended: dict[str, Any] | None = None

    @initialize(
        limit=st.integers(0, 2),
        within=st.integers(0, 2),
        elastic=st.booleans(),
        longest=st.sampled_from([0, 10, 300]),
        rules=RULES,
        suspend=st.booleans(),
        clean=st.sampled_from(["Running", "All"]),
        deadlines=st.fixed_dictionaries(
            {},
            optional={
                "activeDeadlineSeconds": st.sampled_from([30, 900]),
                "startupDeadlineSeconds": st.just(20),
                "progressDeadlineSeconds": st.sampled_from([0, 10]),
            },
        ),
    )
    def create_job(
        self,
        limit: int,
        within: int,
        elastic: bool,
        longest: int,
        rules: list[dict[str, Any]],
        suspend: bool,
        clean: str,
        deadlines: dict[str, int],
    ) -> None:
        self.limit = limit
        self.within = within
        bounds = {"minNodes": 1, "maxNodes": SIZE} if elastic else {}
        self.raw["spec"]["elasticPolicy"] = {"maxRestarts": within, **bounds}
        self.raw["spec"]["runPolicy"] = {
            "suspend": suspend,
            "backoffLimit": limit,
            "maxBackoffSeconds": longest,
            "cleanPodPolicy": clean,
            "failurePolicy": {"rules": rules},
            **deadlines,
        }

    # The operator.

    @rule()
    def reconcile(self) -> None:
        self._execute(self._plan())

    @rule(survives=st.integers(0, 4), data=st.data())
    def reconcile_and_crash(self, survives: int, data: st.DataObject) -> None:
        step = self._plan()
        self._execute(replace(step, create=tuple(data.draw(st.permutations(step.create)))), survives)

    def _plan(self) -> Plan:
        arguments = (parse(self.raw), [pod.observed() for pod in self.pods.values()], self._polled())
        first = plan(*arguments, self._now(), DEFAULTS)
        assert plan(*arguments, self._now(), DEFAULTS) == first
        return first

    def _execute(self, step: Plan, survives: int | None = None) -> None:
        """Creates, deletions, status; only the first so many of them where the operator crashes."""
        actions: list[Any] = [*step.create, *step.delete, *([step.status] if step.status is not None else [])]
        for action in actions[:survives]:
            if action is step.status:
                if "status" not in self.raw:
                    self.first_written = self._now()
                self.raw["status"] = json.loads(json.dumps(action))
            elif action in step.delete:
                self._delete(action)
            elif action.kind == "Pod":
                self._create(action.manifest)
            else:
                self.services += 1

    def _create(self, manifest: Any) -> None:
        name = manifest["metadata"]["name"]
        tags = manifest["metadata"]["labels"]
        if name not in self.pods:
            self.uids += 1
            attempt, index = int(tags["detectron.dev/attempt"]), int(tags["detectron.dev/node-index"])
            nth = int(tags.get("detectron.dev/replacement", "0"))
            assert index == 0 or not self._elastic or self._node_0_is_bound(attempt)
            self.pods[name] = Instance(attempt, index, self.uids, nth, created=self.seconds)

    def _node_0_is_bound(self, attempt: int) -> bool:
        firsts = [pod for pod in self.pods.values() if (pod.attempt, pod.index) == (attempt, 0)]
        return any(pod.bound or pod.phase != "Pending" for pod in firsts)

    def _delete(self, asked: DeletePod) -> None:
        pod = self.pods.get(asked.name)
        if pod is None or f"pod-{pod.uid}" != asked.uid:
            return
        if asked.grace_seconds == 0:
            # By force: whoever still runs there is on their own.
            assert self._is_lost(pod)
            del self.pods[asked.name]
        else:
            self._stop(asked.name, asked.grace_seconds or 120)

    def _stop(self, name: str, grace: int) -> None:
        pod = self.pods[name]
        if not pod.deleting:
            self.pods[name] = replace(pod, stop_by=self.seconds + grace, grace=grace)

    def _is_lost(self, pod: Instance) -> bool:
        overdue = pod.stop_by is not None and self.seconds > pod.stop_by
        return pod.alive and (pod.unreachable_since is not None or overdue)

    # The cluster.

    def _draw(self, data: st.DataObject, *, alive: bool) -> str:
        names = sorted(name for name, pod in self.pods.items() if pod.alive or not alive)
        assume(names)
        return data.draw(st.sampled_from(names))

    @rule(data=st.data())
    def pod_is_bound(self, data: st.DataObject) -> None:
        name = self._draw(data, alive=True)
        self.pods[name] = replace(self.pods[name], bound=True)

    @rule(data=st.data())
    def pod_runs(self, data: st.DataObject) -> None:
        name = self._draw(data, alive=True)
        self.pods[name] = replace(self.pods[name], phase="Running")

    @rule(data=st.data(), said=VERDICTS, disrupted=st.booleans())
    def pod_fails(self, data: st.DataObject, said: dict[str, Any] | None, disrupted: bool) -> None:
        name = self._draw(data, alive=True)
        pod = self.pods[name]
        words = None if said is None else json.dumps(document(pod.attempt, self.iteration, verdict=said))
        self.pods[name] = replace(pod, phase="Failed", words=words, disrupted=disrupted)

    @rule(index=st.integers(0, SIZE - 1))
    def a_process_dies_and_the_kubelets_are_quick(self, index: int) -> None:
        for name, pod in self.pods.items():
            if pod.alive and pod.index == index:
                self.pods[name] = replace(pod, phase="Failed")
        for _ in range(FIXED_POINT):
            self._execute(self._plan())
            self._finish_deletions()

    def _finish_deletions(self) -> None:
        self.pods = {
            name: pod
            for name, pod in self.pods.items()
            if not pod.deleting or pod.unreachable_since is not None
        }

    @rule(data=st.data())
    def pod_succeeds(self, data: st.DataObject) -> None:
        name = self._draw(data, alive=True)
        assume(self.pods[name].phase == "Running")
        self._succeed(name)

    def _succeed(self, name: str) -> None:
        pod = self.pods[name]
        words = json.dumps(document(pod.attempt, 1000, phase="Finished"))
        self.pods[name] = replace(pod, phase="Succeeded", words=words)

    @rule(data=st.data())
    def node_rejects(self, data: st.DataObject) -> None:
        name = self._draw(data, alive=True)
        assume(self.pods[name].phase == "Pending")
        self.pods[name] = replace(self.pods[name], phase="Failed", rejected=True)

    @rule(data=st.data())
    def node_is_lost(self, data: st.DataObject) -> None:
        name = self._draw(data, alive=True)
        assume(self.pods[name].phase == "Running")
        self.pods[name] = replace(self.pods[name], unreachable_since=self.seconds)

    @rule(data=st.data())
    def node_comes_back(self, data: st.DataObject) -> None:
        name = self._draw(data, alive=True)
        self.pods[name] = replace(self.pods[name], unreachable_since=None)

    @rule(data=st.data())
    def somebody_deletes(self, data: st.DataObject) -> None:
        name = self._draw(data, alive=False)
        self._stop(name, 30)

    @rule(data=st.data())
    def pod_is_gone(self, data: st.DataObject) -> None:
        gone = sorted(name for name, pod in self.pods.items() if pod.deleting)
        assume(gone)
        del self.pods[data.draw(st.sampled_from(gone))]

    @rule(value=st.booleans())
    def user_suspends_or_resumes(self, value: bool) -> None:
        if self.raw["spec"]["runPolicy"]["suspend"] != value:
            self.raw["spec"]["runPolicy"] = {**self.raw["spec"]["runPolicy"], "suspend": value}
            self.raw["metadata"]["generation"] += 1

    @property
    def _elastic(self) -> bool:
        return "minNodes" in self.raw["spec"]["elasticPolicy"]

    @precondition(lambda self: self._elastic)
    @rule(nodes=st.integers(1, SIZE))
    def user_scales(self, nodes: int) -> None:
        self.raw["spec"]["numNodes"] = nodes
        self.raw["metadata"]["generation"] += 1

    @rule(seconds=st.one_of(st.integers(0, 20), st.just(600)))
    def time_passes(self, seconds: int) -> None:
        self.seconds += seconds
        newest = max((pod.attempt for pod in self.pods.values()), default=0)
        if newest != self.hung:
            self.iteration = min(1000, self.iteration + seconds)
            self.got_on = self.seconds

    @precondition(lambda self: self.pods)
    @rule()
    def a_process_hangs(self) -> None:
        self.hung = max(pod.attempt for pod in self.pods.values())

    def _now(self) -> datetime:
        return after(self.seconds)

    def _polled(self) -> Progress | None:
        running = [pod for pod in self.pods.values() if pod.index == 0 and pod.phase == "Running"]
        if not running:
            return None
        attempt = running[0].attempt
        told = work(attempt, trained=min(self.iteration, 50), idle=self.seconds - self.got_on)
        return progress_document.parse(
            json.dumps(document(attempt, self.iteration, at=self.seconds, work=told))
        )

    # What must hold.

    @invariant()
    def a_gang_that_runs_has_its_service(self) -> None:
        assert self.services or self.raw.get("status", {}).get("phase") != "Running"

    @invariant()
    def never_two_pods_at_one_index(self) -> None:
        for index in range(SIZE):
            assert sum(pod.alive and pod.index == index for pod in self.pods.values()) <= 1

    @invariant()
    def counts_only_grow_and_keep_to_the_limit(self) -> None:
        status = self.raw.get("status", {})
        attempt, restarts = status.get("attempt", 0), status.get("restarts", 0)
        assert attempt >= self.seen_attempt
        assert self.seen_restarts <= restarts <= self.limit
        self.seen_attempt, self.seen_restarts = attempt, restarts

    @invariant()
    def all_time_is_accounted_for(self) -> None:
        account = self.raw.get("status", {}).get("goodput")
        if account is not None:
            down = sum(loss["downSeconds"] for loss in account.get("losses", []))
            wall = sum(
                account.get(f"{phase}Seconds", 0) for phase in ("pending", "running", "suspended", "queued")
            )
            until = datetime.fromisoformat(account["accountedTime"])
            assert wall + down == (until - self.first_written).total_seconds()

    @invariant()
    def every_restart_has_its_reason(self) -> None:
        status = self.raw.get("status", {})
        told = sum(item["count"] for item in status.get("restartsByReason", []))
        replaced = sum(item["count"] for item in status.get("replacements", []))
        assert status.get("restarts", 0) <= told
        assert self._elastic or replaced <= min(self.within, told)
        assert not replaced or told

    @invariant()
    def no_pod_starts_before_the_pause_is_over(self) -> None:
        due = self.raw.get("status", {}).get("nextAttemptTime")
        if due is not None and self._now() < datetime.fromisoformat(due):
            status = self.raw["status"]
            counts = {item["index"]: item["count"] for item in status.get("replacements", [])}
            newest = [pod for pod in self.pods.values() if pod.attempt == status["attempt"]]
            assert not any(pod.replacement >= counts.get(pod.index, 0) > 0 for pod in newest)
            assert counts or not newest

    @invariant()
    def the_end_is_the_end(self) -> None:
        status = self.raw.get("status", {})
        if self.ended is not None:
            fields = (
                "phase",
                "message",
                "conditions",
                "completionTime",
                "startTime",
                "attempt",
                "restarts",
                "failure",
            )
            assert [status.get(f) for f in fields] == [self.ended.get(f) for f in fields]
            assert status.get("iteration", 0) >= self.ended.get("iteration", 0)
        elif status.get("phase") in TERMINAL:
            self.ended = status

    @invariant()
    def the_schema_takes_the_status(self) -> None:
        if "status" in self.raw:
            STATUS.validate(self.raw["status"])
            held = [c["type"] for c in self.raw["status"]["conditions"] if c["status"] == "True"]
            assert len(held) <= 1
            assert self.raw["status"]["message"]

    @precondition(lambda self: self.pods)
    @rule()
    def an_unchanging_world_settles(self) -> None:
        for _ in range(FIXED_POINT):
            self._execute(self._plan())
        settled = self._plan()
        assert (settled.create, settled.delete, settled.status, settled.events) == ((), (), None, ())
        surplus = [
            pod for pod in self.pods.values() if pod.index >= self.raw["spec"]["numNodes"] and pod.alive
        ]
        assert all(pod.deleting for pod in surplus)
        assert settled.requeue_after is None or settled.requeue_after > 0

    def teardown(self) -> None:
        """From wherever it is, a job that is let be comes to its end and frees what it holds."""
        self.user_suspends_or_resumes(False)
        for _ in range(30):
            self.time_passes(100)
            self._execute(self._plan())
            self._finish_deletions()
            self.pods = {
                name: replace(pod, phase="Running") if pod.alive else pod for name, pod in self.pods.items()
            }
            if self.raw["status"]["phase"] == "Running":
                newest = max(pod.attempt for pod in self.pods.values())
                first = [
                    n
                    for n, pod in self.pods.items()
                    if pod.attempt == newest and pod.index == 0 and pod.alive
                ]
                for name in first:
                    self._succeed(name)
            self.the_end_is_the_end()
        assert self.raw["status"]["phase"] in TERMINAL
        assert not any(pod.alive for pod in self.pods.values())
        assert "eta" not in self.raw["status"]


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
