"""Many jobs at once whose pods die at random: real scheduler and controllers, fake nodes."""

import copy
import random
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.apiserver.api import ApiError, Object
from tests.apiserver.conftest import fresh_space, install_crd
from tests.apiserver.fake_trainer import DONE, progress
from tests.apiserver.manifest_cases import GOOD
from tests.apiserver.operator_process import Operator
from tests.apiserver.space import Space
from tests.cluster.controlplane import ControlPlane
from tests.cluster.kwok import FakeNodes

JOBS, KILLS = 50, 200


@pytest.mark.timeout(600)
def test_two_hundred_kills_over_fifty_jobs_leave_every_job_trained_to_its_end(tmp_path: Path) -> None:
    with ControlPlane(tmp_path / "plane") as plane, FakeNodes(plane, 10):
        install_crd(plane)
        space = fresh_space(plane)
        with Operator(tmp_path, plane.kubeconfig, namespaces=space.api.namespace):
            names = [f"job-{number:02d}" for number in range(JOBS)]
            for name in names:
                space.api.create("detectrontrainingjobs", job(name))
            failures = kill_at_random(space, random.Random(5))
            jobs = await_gangs(space, names)
            for name in names:
                end(space, name)
            for name in names:
                final = space.await_status(name, timeout=60, phase="Succeeded")
                assert final["attempt"] == jobs[name]["attempt"] <= restarts(final)
                assert final["restarts"] <= failures[name]
            assert KILLS / 2 < sum(map(restarts, jobs.values())) <= KILLS
            assert [pod["metadata"]["name"] for pod in space.api.list("pods") if alive(pod)] == []
            for name in names:
                space.api.delete("detectrontrainingjobs", name)
            space.wait(lambda: not space.children(), "everything to be gone", timeout=90)


def restarts(status: Object) -> int:
    """Of the whole gang or of one pod, counted against the limit or not."""
    return sum(row["count"] for row in status.get("restartsByReason", ()))


def job(name: str) -> Object:
    """A job that fails as often as it likes, whose output needs no claim."""
    manifest = copy.deepcopy(GOOD) | {"metadata": {"name": name}}
    manifest["spec"] |= {"numNodes": 2, "output": {"ephemeral": True}}
    manifest["spec"]["runPolicy"] = {"backoffLimit": KILLS, "maxBackoffSeconds": 0}
    return manifest


def kill_at_random(space: Space, chance: random.Random) -> Counter[str]:
    """Kill running pods one after the other, in any of four ways; returns the failures of each job."""
    failures: Counter[str] = Counter()
    kills = 0
    while kills < KILLS:
        victim = chance.choice(space.wait(lambda: running_pods(space), "a pod to kill"))
        way = chance.choice((fail, delete, delete_by_force, evict))
        try:
            way(space, victim["metadata"]["name"])
        except ApiError as error:
            if error.code not in (404, 409):  # the operator was faster
                raise
            continue
        kills += 1
        failures[victim["metadata"]["labels"]["detectron.dev/job"]] += way is fail
    return failures


def running_pods(space: Space) -> list[Object]:
    pods = space.api.list("pods")
    check_no_index_lives_twice(pods)
    return [pod for pod in pods if pod["status"]["phase"] == "Running"]


def fail(space: Space, pod: str) -> None:
    space.kubelet.end(pod, 137)


def delete(space: Space, pod: str) -> None:
    space.api.delete("pods", pod)


def delete_by_force(space: Space, pod: str) -> None:
    space.api.delete("pods", pod, gracePeriodSeconds=0)


def evict(space: Space, pod: str) -> None:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    space.api.request("POST", space.api.path("pods", pod, "eviction"), body)


def check_no_index_lives_twice(pods: list[Object]) -> None:
    living: dict[tuple[str, str], list[str]] = defaultdict(list)
    for pod in filter(alive, pods):
        labels = pod["metadata"]["labels"]
        place = labels["detectron.dev/job"], labels["detectron.dev/node-index"]
        living[place].append(pod["metadata"]["name"])
    assert [names for names in living.values() if len(names) > 1] == []


def await_gangs(space: Space, names: list[str]) -> dict[str, Object]:
    """Wait until every job runs with all its pods; the statuses then."""

    def settled() -> dict[str, Object] | None:
        running = Counter(
            (
                pod["metadata"]["labels"]["detectron.dev/job"],
                pod["metadata"]["labels"]["detectron.dev/attempt"],
            )
            for pod in space.api.list("pods")
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        )
        found = {job["metadata"]["name"]: job["status"] for job in space.api.list("detectrontrainingjobs")}
        whole = all(
            found[name]["phase"] == "Running" and running[name, str(found[name]["attempt"])] == 2
            for name in names
        )
        return found if whole else None

    return space.wait(settled, "every gang to run", timeout=120)


def end(space: Space, job: str) -> None:
    """Let the pods of a job end as after the last iteration, node 0 last."""
    selector = f"detectron.dev/job={job}"
    pods = [pod for pod in space.api.list("pods", selector) if alive(pod)]
    for pod in sorted(
        pods, key=lambda p: str(p["metadata"]["labels"]["detectron.dev/node-index"]), reverse=True
    ):
        attempt = int(pod["metadata"]["labels"]["detectron.dev/attempt"])
        space.kubelet.end(
            pod["metadata"]["name"], 0, progress(100, attempt=attempt, phase="Finished", verdict=DONE)
        )


def alive(pod: Object) -> bool:
    return pod["status"]["phase"] in ("Pending", "Running")
