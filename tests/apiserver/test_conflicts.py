"""Somebody else changes a job too."""

import itertools
from collections import Counter

from tests.apiserver.fake_trainer import DONE, progress
from tests.apiserver.faulty_proxy import FaultyProxy, Request
from tests.apiserver.operator_process import Operator
from tests.apiserver.space import Space

GANG = ("job-0-0", "job-0-1")


def test_a_job_gets_on_though_somebody_else_is_always_a_little_faster(
    space: Space, proxy: FaultyProxy, proxied: Operator
) -> None:
    """Whoever may annotate a job does so right before the operator's write, four times of five."""
    writes = itertools.count(1)

    def meddle(request: Request) -> float:
        if request.method == "PATCH" and (number := next(writes)) % 5:
            note = {"metadata": {"annotations": {"note": str(number)}}}
            space.api.merge("detectrontrainingjobs", "job", note)
        return 0.0

    proxy.delay = meddle
    space.submit()
    space.run(*GANG)
    space.kubelet.end("job-0-1", 0)
    space.kubelet.end("job-0-0", 0, progress(100, verdict=DONE))
    space.await_status(phase="Succeeded")
    codes = Counter(write.code for write in space.audit.writes() if write.verb == "patch")
    assert codes[409] >= 4 * codes[200] > 0
