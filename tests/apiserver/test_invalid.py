"""Jobs that an upgraded operator understands no longer, with a real API server."""

from tests.apiserver.conftest import StartOperator
from tests.apiserver.fake_trainer import progress
from tests.apiserver.space import Space

STRICTER = ("tests.apiserver.stricter_operator",)
GANG = ("job-0-0", "job-0-1")
DONE = {"reason": "Completed", "message": "all is done", "retryable": False}


def running_reason(space: Space) -> str:
    return next(str(item["reason"]) for item in space.status()["conditions"] if item["type"] == "Running")


def upgrade_under_a_gang(space: Space, start_operator: StartOperator) -> None:
    """Have a gang run, then have it served by an operator that does not know its spec."""
    before = start_operator()
    space.submit()
    space.run(*GANG)
    before.terminate()
    start_operator(program=STRICTER)
    space.wait(lambda: running_reason(space) == "InvalidSpec", "the operator to say that it cannot read it")
    assert space.status()["phase"] == "Running"


def test_training_goes_on_until_its_pods_end(space: Space, start_operator: StartOperator) -> None:
    upgrade_under_a_gang(space, start_operator)
    space.wait(lambda: space.events().count("InvalidSpec") == 1, "the event")
    assert "spec.config: has a form" in space.status()["message"]
    space.submit("new")
    space.await_status("new", phase="Failed")
    assert not [pod for pod in space.api.list("pods") if "deletionTimestamp" in pod["metadata"]]

    space.kubelet.end("job-0-0", 1)
    (survivor,) = space.await_stopping(1)
    assert (survivor["metadata"]["name"], space.status()["phase"]) == ("job-0-1", "Running")
    space.kubelet.finish_deletions()
    status = space.await_status(phase="Failed")
    assert status["failure"]["reason"] == "InvalidSpec"
    assert space.pods() == ["job-0-0"]


def test_a_job_that_completes_all_the_same_has_succeeded(space: Space, start_operator: StartOperator) -> None:
    upgrade_under_a_gang(space, start_operator)
    space.kubelet.end("job-0-1", 0)
    space.kubelet.end("job-0-0", 0, progress(100, phase="Finished", verdict=DONE))
    assert space.await_status(phase="Succeeded")["iteration"] == 100


def test_the_operator_that_knows_it_takes_it_up_again(space: Space, start_operator: StartOperator) -> None:
    before = start_operator()
    space.submit()
    space.run(*GANG)
    before.terminate()
    stricter = start_operator(program=STRICTER)
    space.wait(lambda: running_reason(space) == "InvalidSpec", "the operator to say that it cannot read it")
    stricter.terminate()
    before.start()
    space.wait(lambda: running_reason(space) == "GangRunning", "the operator to go on")
    assert space.await_status(phase="Running", attempt=0, restarts=0)
    assert space.pods() == list(GANG)
