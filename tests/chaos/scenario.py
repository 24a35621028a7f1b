"""A scenario: what happens to a job, what has to come of it, and what came of it."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.trial import MAX_ITER, MINUTES, Trial, small, trial
from tests.cluster.command import CommandError
from tests.cluster.daemon import DaemonError
from tests.cluster.kubectl import Kubectl, KubectlError
from tests.cluster.release import Release
from tests.cluster.training_job import TERMINAL, JobError
from tests.cluster.waiting import wait_until

DELETED = "deleted"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One fault.

    Attributes:
        name: of the job and for the command line.
        fault: in words.
        act: waits until it is time, strikes, and repairs what nobody else will.
        cause: a reason that the status has to give, None where there is nothing to say.
        ends: the job's last phase, or `DELETED`.
        failure: the reason that `.status.failure` has to give, with pod and node.
        repeats: at most so many iterations are trained again.
        within: seconds from the fault (or from its repair) to the first new iteration, that are the aim.
        notice_within: seconds until the status says `cause`, that are the aim.
        pods: how many are made for the job from its beginning to its end, where that matters.
        restarts: how many the status counts, where that matters.
        operator: environment variables that somebody has given the operators meanwhile.
        iterations: of the job.
        overrides, env, spec: of the job.
        volume: the size of a volume of its own for the output, where one is needed.
    """

    name: str
    fault: str
    act: Callable[[Trial], None]
    cause: str | None
    ends: str = "Succeeded"
    failure: str | None = None
    repeats: int = 0
    within: float | None = None
    notice_within: float | None = None
    pods: int | None = None
    restarts: int | None = None
    operator: Mapping[str, str] = field(default_factory=dict)
    iterations: int = MAX_ITER
    overrides: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    volume: str | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a scenario; times in seconds, None where nothing was noticed or interrupted.

    `date` is the day of the measurement, in UTC, and `load` the machine's before the job began. `wrong` says
    what is not as it has to be, `late` which aims were missed.
    """

    name: str
    noticed: float | None
    recovered: float | None
    repeated: int
    attempts: int
    causes: list[str]
    ended: str
    load: float
    date: str
    wrong: list[str]
    late: list[str]


def run(scenario: Scenario, release: Release, kubectl: Kubectl) -> Outcome:
    """Run a scenario to its end on a job of its own."""
    load = os.getloadavg()[0]
    overrides = (f"SOLVER.MAX_ITER {scenario.iterations}", *scenario.overrides)
    manifest = small(scenario.name, *overrides, env=dict(scenario.env), **scenario.spec)
    with release.configured(scenario.operator), trial(release, kubectl, manifest, scenario.volume) as running:
        try:
            scenario.act(running)
            status = {"phase": DELETED} if scenario.ends == DELETED else _end(running)
            wrong = _wrong(scenario, running, status)
            running.job.delete()
            _wait_gone(running)
        except (TimeoutError, CommandError, DaemonError, JobError, KubectlError) as error:
            return _outcome(scenario, running, running.told.latest, load, [str(error)])
        return _outcome(scenario, running, status, load, wrong)


def _end(running: Trial) -> dict[str, Any]:
    """The status at the end of the job, when its pods have ended too."""
    job = running.job
    wait_until(lambda: job.status().get("phase") in TERMINAL, 6 * MINUTES, f"{job.name} to end", 0.3)

    def none_alive() -> bool:
        return all(pod["status"]["phase"] in TERMINAL for pod in job.pods())

    wait_until(none_alive, 2 * MINUTES, f"{job.name}'s last pods to end", 0.3)
    return job.status()


def _wait_gone(running: Trial) -> None:
    wait_until(lambda: not running.job.children(), 3 * MINUTES, "the job's children to be gone", 0.3)


def _wrong(scenario: Scenario, running: Trial, status: Mapping[str, Any]) -> list[str]:
    found = []
    if status["phase"] != scenario.ends:
        found.append(
            f"ended as {status['phase']}: {json.dumps(status.get('failure', status.get('message')))}"
        )
    elif scenario.ends == "Succeeded":
        if status.get("iteration") != scenario.iterations:
            found.append(f"succeeded at iteration {status.get('iteration')} of {scenario.iterations}")
        if running.trained.iterations() != list(range(scenario.iterations)):
            found.append(f"metrics.json has iterations {running.trained.iterations()}")
    failure = status.get("failure", {})
    if failure.get("reason") != scenario.failure:
        found.append(f"status.failure is {failure}")
    elif failure and not {"pod", "node"} <= set(failure):
        found.append(f"status.failure does not say where: {failure}")
    found += _miscounted(scenario, running, status)
    repeated = len(running.trained.history.again)
    if repeated > scenario.repeats:
        found.append(f"{repeated} iterations were trained again, {scenario.repeats} may")
    causes = running.told.causes(running.struck_at or 0.0)
    if scenario.cause is not None and scenario.cause not in causes:
        found.append(f"the status never said {scenario.cause}, but {causes}")
    return found


def _miscounted(scenario: Scenario, running: Trial, status: Mapping[str, Any]) -> list[str]:
    """What was done more or less often than it should have been."""
    counts = (
        ("pods were made", scenario.pods, len(running.job.scheduled())),
        ("restarts are counted", scenario.restarts, status.get("restarts")),
    )
    return [
        f"{counted} {what}, not {wanted}" for what, wanted, counted in counts if wanted not in (None, counted)
    ]


def _outcome(
    scenario: Scenario, running: Trial, status: Mapping[str, Any], load: float, wrong: list[str]
) -> Outcome:
    struck = running.struck_at or 0.0
    noticed = running.told.noticed(scenario.cause, struck) if scenario.cause else None
    counted_from = running.repaired_at or running.struck_at
    recovered = (
        running.trained.history.recovery(counted_from)
        if counted_from is not None and scenario.ends == "Succeeded"
        else None
    )
    late = [
        f"{what} after {took:.1f} s, the aim is {aim:.0f} s"
        for what, took, aim in (
            ("noticed", noticed, scenario.notice_within),
            ("recovered", recovered, scenario.within),
        )
        if took is not None and aim is not None and took > aim
    ]
    return Outcome(
        name=scenario.name,
        noticed=noticed,
        recovered=recovered,
        repeated=len(running.trained.history.again),
        attempts=int(status.get("attempt", 0)) + 1,
        causes=running.told.causes(struck),
        ended=str(status.get("phase")),
        load=load,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        wrong=wrong,
        late=late,
    )
