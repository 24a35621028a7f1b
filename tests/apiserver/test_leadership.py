"""Two operators: one works and the other stands by, and no harm is done where somebody forgot the Lease."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.apiserver.api import Object
from tests.apiserver.conftest import StartOperator, grant_lease
from tests.apiserver.fake_trainer import FakeTrainer, progress
from tests.apiserver.faulty_proxy import FaultyProxy
from tests.apiserver.operator_process import Operator
from tests.apiserver.space import Space
from tests.cluster.controlplane import ControlPlane

DURATION = 3
GANG = ("job-0-0", "job-0-1")

StartCandidate = Callable[..., Operator]


@pytest.fixture
def start_candidate(plane: ControlPlane, space: Space, start_operator: StartOperator) -> StartCandidate:
    """Starts an operator that works only while it holds the test's Lease."""
    lease = f"{space.api.namespace}/the-operator"
    grant_lease(plane, lease)

    def start(kubeconfig: Path | None = None) -> Operator:
        return start_operator(kubeconfig, lease=lease, lease_duration=DURATION)

    return start


def leads(operator: Operator) -> bool:
    return "detectron_operator_leader 1.0" in operator.metrics()


def lease(space: Space) -> Object:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{space.api.namespace}/leases/the-operator"
    return space.api.request("GET", path)


def steal(space: Space, holder: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{space.api.namespace}/leases/the-operator"
    space.api.request("PATCH", path, {"spec": {"holderIdentity": holder}}, "application/merge-patch+json")


class TestOneOfTwo:
    def test_works_and_the_other_one_is_ready(self, space: Space, start_candidate: StartCandidate) -> None:
        first, second = start_candidate(), start_candidate()
        space.wait(lambda: leads(first), "the first to lead")
        assert not leads(second)
        assert first.health() == second.health() == (200, '{"ailments": []}')
        space.submit()
        space.run(*GANG)
        writes = Counter(str(write) for write in space.audit.writes() if "leases" not in write.resource)
        assert writes["create pods"] == 2
        assert "api_requests_total" not in [
            line for line in second.metrics().splitlines() if 'resource="pods"' in line
        ]

    def test_takes_over_when_the_leader_is_killed_and_touches_no_pod(
        self, space: Space, start_candidate: StartCandidate
    ) -> None:
        first = start_candidate()
        space.wait(lambda: leads(first), "the first to lead")
        second = start_candidate()
        space.submit()
        space.run(*GANG)
        before = space.api.list("pods")
        space.wait(lambda: len(space.events()) == 1, "the first's event")
        writes = [write for write in space.audit.writes() if "leases" not in write.resource]
        first.kill()
        killed = time.monotonic()
        space.submit("next", nodes=1)
        space.wait(lambda: "next-0-0" in space.pods(), "the standby to work")
        assert time.monotonic() - killed <= DURATION * 1.1 + 3
        assert [pod for pod in space.api.list("pods") if pod["metadata"]["name"] in GANG] == before
        later = [write for write in space.audit.writes() if "leases" not in write.resource]
        # The name of an event is made by the API server.
        assert {write.name.partition("-")[0] for write in later[len(writes) :]} <= {"next", ""}
        about = [event["involvedObject"]["name"] for event in space.api.list("events")]
        assert about.count("job") == 1
        assert leads(second)

    def test_takes_over_at_once_when_the_leader_is_told_to_stop(
        self, space: Space, start_candidate: StartCandidate
    ) -> None:
        first = start_candidate()
        space.wait(lambda: leads(first), "the first to lead")
        start_candidate()
        space.submit()
        space.run(*GANG)
        assert first.terminate() == 0
        stopped = time.monotonic()
        space.submit("next", nodes=1)
        space.wait(lambda: "next-0-0" in space.pods(), "the standby to work")
        # Well within the Lease's duration: it was given up.
        assert time.monotonic() - stopped < DURATION * 0.8
        assert lease(space)["spec"]["leaseTransitions"] == 1

    def test_stops_at_once_while_it_stands_by(self, space: Space, start_candidate: StartCandidate) -> None:
        first, second = start_candidate(), start_candidate()
        space.wait(lambda: leads(first), "the first to lead")
        assert second.terminate() == 0
        assert leads(first)

    def test_ends_when_somebody_else_takes_the_lease(
        self, space: Space, start_candidate: StartCandidate
    ) -> None:
        first = start_candidate()
        space.wait(lambda: leads(first), "the first to lead")
        steal(space, "somebody-else")
        assert first.process.wait(timeout=DURATION) == 1
        assert "does not lead any more" in first.log
        assert "held by somebody-else" in first.log

    def test_ends_when_the_api_server_is_away_for_longer_than_the_lease(
        self, space: Space, proxy: FaultyProxy, start_candidate: StartCandidate, tmp_path: Path
    ) -> None:
        first = start_candidate(proxy.kubeconfig(tmp_path / "kubeconfig"))
        space.wait(lambda: leads(first), "the first to lead")
        proxy.refuse = lambda _: 503
        assert first.process.wait(timeout=2 * DURATION) == 1
        # What the kubelet starts in its place waits, however long it takes.
        first.launch()
        space.wait(lambda: "standing by" in first.log, "it to wait")
        proxy.refuse = lambda _: None
        space.submit()
        space.run(*GANG)

    def test_that_slept_through_its_lease_writes_nothing_when_it_wakes(
        self, space: Space, proxy: FaultyProxy, start_candidate: StartCandidate, tmp_path: Path
    ) -> None:
        sleeper = start_candidate(proxy.kubeconfig(tmp_path / "kubeconfig"))
        space.wait(lambda: leads(sleeper), "it to lead")
        space.submit()
        space.run(*GANG)
        sleeper.process.send_signal(signal.SIGSTOP)
        start_candidate()
        space.kubelet.end("job-0-1", 0)
        space.kubelet.end(
            "job-0-0", 0, progress(100, verdict={"reason": "Completed", "message": "", "retryable": False})
        )
        space.submit("next", nodes=1)
        space.wait(lambda: "next-0-0" in space.pods(), "the other to work")
        space.await_status(phase="Succeeded")
        written = sum(request.writes for request in proxy.requests)
        sleeper.process.send_signal(signal.SIGCONT)
        assert sleeper.process.wait(timeout=DURATION) == 1
        assert sum(request.writes for request in proxy.requests) == written


class TestTwoWithoutALease:
    """Started by mistake: they work side by side, and the jobs must not notice."""

    def test_create_no_pod_twice_and_agree_on_the_status(
        self, space: Space, start_operator: StartOperator
    ) -> None:
        start_operator()
        start_operator()
        for number in range(5):
            space.submit(f"job-{number}")
        names = [f"job-{number}-0-{index}" for number in range(5) for index in range(2)]
        space.await_pods(*names)
        for pod in names:
            space.kubelet.run(pod)
        for number in range(5):
            space.await_status(f"job-{number}", phase="Running")
        space.kubelet.end("job-0-0-0", 1)
        space.wait(lambda: space.kubelet.finish_deletions() == ["job-0-0-1"], "the survivor to be stopped")
        space.wait(lambda: {"job-0-1-0", "job-0-1-1"} <= set(space.pods()), "the second attempt")
        assert space.await_status("job-0", attempt=1)["restarts"] == 1
        self._settle(space)
        created = Counter(
            write.name for write in space.audit.writes() if str(write) == "create pods" and write.code == 201
        )
        assert created.total() == len(names) + 2
        assert max(created.values()) == 1

    def test_do_not_fight_over_the_progress(self, space: Space, start_operator: StartOperator) -> None:
        with FakeTrainer() as trainer:
            for _ in range(2):
                start_operator(progress_port=trainer.port, progress_period=3)
            space.submit()
            space.await_pods(*GANG)
            for pod in GANG:
                space.kubelet.run(pod, ip="127.0.0.1")
            space.await_status(phase="Running")
            before, began, seen = len(space.audit.writes()), time.monotonic(), [0]
            for iteration in range(1, 60):
                trainer.document = progress(iteration)
                trainer.await_look()
                seen.append(space.status().get("iteration", 0))
            space.await_status(iteration=59)
            assert seen == sorted(seen)
            # The two together write no more than one would; the status tells times to the second.
            patches = [write for write in space.audit.writes()[before:] if write.code == 200]
            assert len(patches) <= (time.monotonic() - began) / 2 + 2
            self._settle(space)

    def _settle(self, space: Space) -> None:
        """Nothing is written any more once nothing happens any more."""
        last = [-1, time.monotonic()]

        def quiet() -> bool:
            writes = len(space.audit.writes())
            if writes != last[0]:
                last[:] = [writes, time.monotonic()]
            return time.monotonic() - last[1] >= 2

        space.wait(quiet, "the two operators to fall silent")
