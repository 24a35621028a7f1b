"""What goes wrong around the operator: it is killed, watches break, the API server goes away.

Pods are run by a fake kubelet: no container is started.
"""

import itertools
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

from tests.apiserver.api import ApiError, Object
from tests.apiserver.conftest import CRD, StartOperator, fresh_space
from tests.apiserver.fake_trainer import DONE, progress
from tests.apiserver.faulty_proxy import FaultyProxy, Request
from tests.apiserver.manifest_cases import GOOD
from tests.apiserver.operator_process import Operator
from tests.apiserver.space import Space
from tests.cluster.controlplane import ControlPlane

GANG = ("job-0-0", "job-0-1")
SECOND_GANG = ("job-1-0", "job-1-1")
BAD: dict[str, Object] = {"many": {"numNodes": 600}, "text": {"numNodes": "two"}}


class TestKilled:
    """SIGKILL after every write of a job's life in turn, before the operator hears that it was done.

    To die after one write or before the next is the same to an operator that remembers nothing.
    """

    # About twenty lives of some seconds each, on however busy a machine.
    @pytest.mark.timeout(1200)
    def test_at_any_write_changes_nothing_in_the_outcome(self, plane: ControlPlane, tmp_path: Path) -> None:
        with FaultyProxy(plane) as proxy:
            kubeconfig = proxy.kubeconfig(tmp_path / "kubeconfig")
            undisturbed = fresh_space(plane)
            with Operator(tmp_path, kubeconfig, namespaces=undisturbed.api.namespace):
                live(undisturbed)
                undisturbed.wait(lambda: "TrainingCompleted" in undisturbed.events(), "the last event")
            expected, events = outcome(undisturbed), Counter(undisturbed.events())
            for number in itertools.count(1):
                space = fresh_space(plane)
                operator = Operator(tmp_path, kubeconfig, namespaces=space.api.namespace)
                victim = kill_after_write(number, proxy, operator)
                with operator, operator.kept_alive():
                    live(space)
                assert outcome(space) == expected, f"killed after write {number}: {victim}"
                assert Counter(space.events()) <= events, f"killed after write {number}: {victim}"
                if not victim:
                    assert number > 17, "a life has more writes than that"
                    break

    def test_while_nobody_looks_the_gang_ends_and_is_found(self, space: Space, operator: Operator) -> None:
        space.submit()
        space.run(*GANG)
        operator.kill()
        space.kubelet.end("job-0-1", 0)
        space.kubelet.end("job-0-0", 0, progress(100, verdict=DONE))
        operator.start()
        assert space.await_status(phase="Succeeded")["iteration"] == 100

    def test_while_nobody_looks_the_job_is_replaced_and_the_new_one_runs(
        self, space: Space, operator: Operator
    ) -> None:
        space.submit()
        space.run(*GANG)
        operator.kill()
        space.api.delete("detectrontrainingjobs", "job")
        space.await_collection()
        space.submit(nodes=1)
        operator.start()
        space.run(*GANG[:1])


class TestWatches:
    def test_that_break_are_taken_up_again(self, space: Space, proxy: FaultyProxy, proxied: Operator) -> None:
        space.wait(lambda: proxy.open_watches == 2, "both watches")
        assert proxy.cut_watches() == 2
        space.submit()
        space.run(*GANG)
        assert proxied.process.poll() is None

    def test_that_are_too_old_begin_anew_and_what_they_missed_is_found(
        self, space: Space, proxy: FaultyProxy, start_operator: StartOperator, tmp_path: Path
    ) -> None:
        operator = start_operator(proxy.kubeconfig(tmp_path / "kubeconfig"))
        space.submit()
        space.submit("other")
        space.await_pods(*GANG, "other-0-0", "other-0-1")
        for pod in space.pods():
            space.kubelet.run(pod)
        space.await_status(phase="Running")
        space.await_status("other", phase="Running")
        proxy.refuse = lambda request: 503 if request.watches else None
        gone = {"kind": "Status", "code": 410, "message": "too old resource version"}
        assert proxy.cut_watches({"type": "ERROR", "object": gone}) == 2
        space.api.delete("pods", "job-0-1", gracePeriodSeconds=0)
        space.api.delete("detectrontrainingjobs", "other")
        space.await_status(replacements=[{"index": 1, "count": 1}])
        proxy.refuse = lambda _: None
        space.wait(lambda: 'cache_objects{resource="detectrontrainingjobs"} 1.0' in operator.metrics(), "one")

    def test_that_fail_in_the_middle_end_the_process_and_the_next_one_goes_on(
        self, space: Space, proxy: FaultyProxy, proxied: Operator
    ) -> None:
        space.wait(lambda: proxy.open_watches == 2, "both watches")
        with proxied.kept_alive() as codes:
            failed = {"kind": "Status", "code": 500, "message": "etcd has no leader"}
            assert proxy.cut_watches({"type": "ERROR", "object": failed}) == 2
            space.submit()
            space.run(*GANG)
        assert codes[0] == 1

    def test_are_filtered_by_the_api_server(
        self, space: Space, proxy: FaultyProxy, proxied: Operator
    ) -> None:
        space.wait(lambda: proxy.open_watches == 2, "both watches")
        asked = [request for request in proxy.requests if request.path.endswith("/pods")]
        assert {request.watches for request in asked} == {False, True}
        ours = "labelSelector=app.kubernetes.io/managed-by=detectron-operator"
        assert all(ours in unquote(request.query) for request in asked)

    def test_suffice_for_a_new_job(self, space: Space, proxy: FaultyProxy, proxied: Operator) -> None:
        """A list for each would cost a rush of jobs the square of their number."""
        space.submit()
        space.run(*GANG)
        assert [request for request in proxy.requests if "detectron.dev/job=" in unquote(request.query)] == []
        # Whereas the end of an attempt rests on what is not there.
        space.kubelet.end("job-0-0", 1)
        space.await_status(attempt=1)
        assert [request for request in proxy.requests if "detectron.dev/job=" in unquote(request.query)]


class TestApiServer:
    def test_away_for_a_while_is_waited_for(
        self, plane: ControlPlane, space: Space, operator: Operator
    ) -> None:
        space.submit()
        space.run(*GANG)
        with operator.kept_alive():
            plane.apiserver.kill()
            plane.start()
            space.kubelet.end("job-0-1", 0)
            space.kubelet.end("job-0-0", 0, progress(100, verdict=DONE))
            space.await_status(phase="Succeeded", timeout=60)

    def test_away_for_long_shows_in_healthz(
        self, space: Space, proxy: FaultyProxy, start_operator: StartOperator, tmp_path: Path
    ) -> None:
        operator = start_operator(proxy.kubeconfig(tmp_path / "kubeconfig"), resync_period=0.5)
        assert operator.health() == (200, '{"ailments": []}')
        proxy.refuse = lambda _: 503
        space.wait(lambda: operator.health()[0] == 500, "the probe to fail", timeout=40)
        assert "the last complete list from the API server" in operator.log
        proxy.refuse = lambda _: None
        space.wait(lambda: operator.health()[0] == 200, "the probe to succeed", timeout=40)

    def test_that_asks_to_slow_down_is_heard(
        self, space: Space, proxy: FaultyProxy, proxied: Operator
    ) -> None:
        refused: list[Request] = []

        def refuse(request: Request) -> int | None:
            if request.writes and len(refused) < 5:
                refused.append(request)
                return 429
            return None

        proxy.refuse = refuse
        space.submit()
        space.run(*GANG)
        assert len(refused) == 5
        assert space.pods() == list(GANG)

    def test_that_never_answers_a_request_is_asked_again(
        self, space: Space, proxy: FaultyProxy, start_operator: StartOperator, tmp_path: Path
    ) -> None:
        start_operator(proxy.kubeconfig(tmp_path / "kubeconfig"), request_timeout=1)
        hung: list[Request] = []

        def delay(request: Request) -> float:
            kind = (request.method, request.path.rsplit("/", 1)[-1])
            if kind in (("POST", "pods"), ("PATCH", "status")) and kind not in [
                (other.method, other.path.rsplit("/", 1)[-1]) for other in hung
            ]:
                hung.append(request)
                return 3600
            return 0

        proxy.delay = delay
        space.submit()
        space.run(*GANG)
        assert {request.method for request in hung} == {"POST", "PATCH"}
        assert len([w for w in space.audit.writes() if str(w) == "create pods" and w.code == 201]) == 2

    def test_that_answers_two_seconds_late_is_only_slower(
        self, space: Space, proxy: FaultyProxy, proxied: Operator
    ) -> None:
        space.wait(lambda: proxy.open_watches == 2, "both watches")
        proxy.delay = lambda _: 2.0
        space.submit()
        space.run(*GANG)
        space.kubelet.end("job-0-1", 0)
        space.kubelet.end("job-0-0", 0, progress(100, verdict=DONE))
        space.await_status(phase="Succeeded", timeout=30)
        assert len([w for w in space.audit.writes() if str(w) == "create pods"]) == 2
        assert proxied.health() == (200, '{"ailments": []}')


class TestStoredUnderALaxerSchema:
    def test_a_malformed_job_fails_and_others_are_served(
        self, plane: ControlPlane, space: Space, start_operator: StartOperator
    ) -> None:
        anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        crd = yaml.safe_load(CRD.read_text())
        version = crd["spec"]["versions"][0]
        version["schema"]["openAPIV3Schema"] = anything
        # It is the scale subresource, too, that wants numNodes to be a number.
        del version["subresources"]["scale"]
        plane.kubectl("replace", "-f", "-", stdin=json.dumps(crd))
        many, text = ({"metadata": {"name": name}, "spec": spec} for name, spec in BAD.items())
        space.wait(lambda: taken(space, many), "the laxer schema to be in force")
        assert taken(space, text)
        plane.kubectl("replace", "-f", str(CRD))
        space.wait(lambda: not taken(space, many, dry_run=True), "the schema to be in force again")
        operator = start_operator()
        space.submit("good")
        space.await_status("good", phase="Pending")
        assert space.pods() == ["good-0-0", "good-0-1"]
        assert "spec" in space.await_status("many", phase="Failed")["message"]
        # Of this one the API server takes no status at all: its own rules cannot be evaluated on it.
        space.wait(lambda: "expected int, got string" in operator.log, "the operator to say why")


def live(space: Space) -> None:
    """A life: the job runs, its second pod is replaced, its first one fails, it runs again and completes."""
    space.submit(maxBackoffSeconds=0)
    space.run(*GANG)
    # Of what happens in one second the operator cannot tell what was first.
    created = datetime.fromisoformat(space.api.get("pods", "job-0-0")["metadata"]["creationTimestamp"])
    space.wait(lambda: datetime.now(UTC) - created > timedelta(seconds=1), "the next second")
    space.kubelet.end("job-0-1", 137)
    space.await_pods(*GANG, "job-0-1r1")
    space.kubelet.run("job-0-1r1")
    space.await_status(phase="Running", attempt=0)
    space.kubelet.end("job-0-0", 1)
    space.wait(lambda: space.kubelet.finish_deletions() == ["job-0-1r1"], "the survivor to be stopped")
    space.await_pods(*GANG, *SECOND_GANG)
    for pod in SECOND_GANG:
        space.kubelet.run(pod)
    space.await_status(phase="Running", attempt=1)
    space.kubelet.end("job-1-1", 0)
    space.kubelet.end("job-1-0", 0, progress(100, attempt=1, phase="Finished", verdict=DONE))
    space.await_status(phase="Succeeded")


def outcome(space: Space) -> dict[str, Any]:
    """All that must be the same whatever happened to the operator: all but times and the account of them."""
    times = (
        "lastUpdatedTime",
        "startTime",
        "completionTime",
        "lastTransitionTime",
        "lastRestartTime",
        "goodput",
    )

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: timeless(item) for name, item in value.items() if name not in times}
        return [timeless(item) for item in value] if isinstance(value, list) else value

    return {"children": space.children(), "status": timeless(space.status())}


def kill_after_write(number: int, proxy: FaultyProxy, operator: Operator) -> list[Request]:
    """Have the operator killed after that many writes; the list then holds the last one."""
    seen: list[Request] = []
    victim: list[Request] = []

    def after_write(request: Request) -> None:
        seen.append(request)
        if len(seen) == number:
            victim.append(request)
            operator.kill()

    proxy.after_write = after_write
    return victim


def taken(space: Space, manifest: Object, dry_run: bool = False) -> bool:
    """Whether the API server takes this job."""
    query = "?dryRun=All" if dry_run else ""
    name = "dry" if dry_run else manifest["metadata"]["name"]
    whole = manifest | {"metadata": {"name": name}, "apiVersion": GOOD["apiVersion"], "kind": GOOD["kind"]}
    try:
        space.api.request("POST", space.api.path("detectrontrainingjobs") + query, whole)
    except ApiError:
        return False
    return True
