"""The operator as a process: how it starts, stops and speaks of itself."""

import subprocess
import threading
from pathlib import Path

from tests.apiserver.faulty_proxy import FaultyProxy, Request
from tests.apiserver.operator_process import Operator
from tests.apiserver.space import Space
from tests.cluster import packages


def test_stops_at_once_when_told_to(space: Space, operator: Operator) -> None:
    space.submit()
    space.await_status(phase="Pending")
    assert operator.terminate() == 0


def test_finishes_what_is_under_way(space: Space, proxy: FaultyProxy, proxied: Operator) -> None:
    began = threading.Event()

    def hold(request: Request) -> None:
        if request.path.endswith("/services"):
            began.set()
            proxied.process.terminate()

    proxy.after_write = hold
    space.submit()
    assert began.wait(20)
    assert proxied.process.wait(timeout=40) == 0
    assert space.pods() == ["job-0-0", "job-0-1"]
    assert space.status()["phase"] == "Pending"
    assert space.events() == ["Created"]


def test_metrics_please_promtool(space: Space, operator: Operator) -> None:
    space.submit()
    space.await_status(phase="Pending")
    text = operator.metrics()
    assert 'detectron_operator_jobs{phase="Pending"} 1.0' in text
    of_job = f'job_namespace="{space.api.namespace}",phase="Pending",training_job="job"'
    assert f"detectron_job_status_phase{{{of_job}}} 1.0" in text
    checked = subprocess.run(
        [str(packages.promtool()), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_without_the_custom_resource_is_refused_with_words(proxy: FaultyProxy, tmp_path: Path) -> None:
    proxy.refuse = lambda request: 404 if request.path == "/apis/detectron.dev/v1alpha1" else None
    operator = Operator(tmp_path, proxy.kubeconfig(tmp_path / "kubeconfig"))
    operator.launch()
    assert operator.process.wait(timeout=30) == 1
    assert "the API server does not know detectrontrainingjobs.detectron.dev: install" in operator.log
