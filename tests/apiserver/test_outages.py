"""Outages that last: the API server asks for patience, is stopped, loses its etcd."""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise

import pytest

from tests.apiserver.conftest import StartOperator, grant_lease
from tests.apiserver.fake_trainer import DONE, progress
from tests.apiserver.faulty_proxy import FaultyProxy
from tests.apiserver.operator_process import Operator
from tests.apiserver.space import Space
from tests.cluster.controlplane import ControlPlane

OUTAGE = 30.0
GANG = ("job-0-0", "job-0-1")


def finish(space: Space) -> None:
    space.kubelet.end("job-0-1", 0)
    space.kubelet.end("job-0-0", 0, progress(100, verdict=DONE))


def created(space: Space) -> Counter[str]:
    return Counter(w.name for w in space.audit.writes() if str(w) == "create pods" and w.code == 201)


def test_429_for_30_seconds_is_waited_out_as_the_server_asks(
    space: Space, proxy: FaultyProxy, proxied: Operator
) -> None:
    space.submit("before")
    space.await_pods("before-0-0", "before-0-1")
    space.await_status("before", phase="Pending")
    proxy.retry_after = 5
    proxy.refuse = lambda request: 429 if request.writes else None
    began = time.monotonic()
    space.submit()
    for pod in ("before-0-0", "before-0-1"):
        space.kubelet.run(pod)
    space.wait(lambda: time.monotonic() - began > OUTAGE, "the end of the outage", timeout=OUTAGE + 5)
    proxy.refuse = lambda _: None
    assert proxied.process.poll() is None
    # Both jobs try, the new one with Service and ConfigMap at once; each try waits for five seconds or more.
    assert 4 <= len(proxy.refused) <= 3 * (OUTAGE / 5 + 1)
    tries = [at for at, request in proxy.refused if request.path.endswith("/services")]
    assert all(later - earlier >= 5 for earlier, later in pairwise(tries))
    space.await_pods(*GANG, "before-0-0", "before-0-1", timeout=60)
    space.await_status("before", phase="Running", timeout=60)
    assert max(created(space).values()) == 1


@pytest.mark.parametrize("what", ["apiserver", "etcd"])
def test_an_api_server_without_itself_or_its_etcd_for_30_seconds(
    what: str, plane: ControlPlane, space: Space, start_operator: StartOperator
) -> None:
    lease = f"{space.api.namespace}/the-operator"
    grant_lease(plane, lease)
    operator = start_operator(lease=lease, lease_duration=3)
    space.submit()
    space.run(*GANG)
    before = space.api.list("pods")
    with operator.kept_alive() as codes:
        daemon = plane.apiserver if what == "apiserver" else plane.etcd
        stopped = time.monotonic()
        daemon.kill()
        space.wait(lambda: time.monotonic() - stopped > OUTAGE, "the end of the outage", timeout=OUTAGE + 5)
        plane.start()
        back = time.monotonic()
        space.submit("next", nodes=1)
        space.wait(lambda: "next-0-0" in space.pods(), "new work to be done", timeout=60)
        assert time.monotonic() - back <= 30
        # It ended once, as it could not renew its Lease; whoever was started after it waited.
        assert codes == [1]
        names = [pod["metadata"]["uid"] for pod in space.api.list("pods")]
        assert {pod["metadata"]["uid"] for pod in before} <= set(names)
        finish(space)
        space.await_status(phase="Succeeded", timeout=60)
    assert created(space) == Counter([*GANG, "next-0-0"])
