"""What is done to the operators beside a job that trains, which must not notice."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chart.previous import previous
from tests.cluster.command import CommandError
from tests.cluster.console import say
from tests.cluster.kubectl import Kubectl
from tests.cluster.release import NAME, SELECTOR, Release
from tests.cluster.training_job import TrainingJob
from tests.cluster.waiting import wait_until
from tests.matrix.installation import FAULTS
from tests.matrix.job import LONG, MINUTES, job, wrong

UNDER_WAY = 20
"""Iterations after which a job is disturbed."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What came of a disturbance.

    Attributes:
        name: of the disturbance.
        seconds: until what `Disturbance.until` says, None where it did not come to that.
        wrong: what was not as it has to be.
    """

    name: str
    seconds: float | None
    wrong: list[str]


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """One of them.

    Attributes:
        name: for the command line.
        about, until: what is done and what it is timed until, in words.
        act: does it to a release, in whose cluster users have a namespace; returns the seconds.
    """

    name: str
    about: str
    until: str
    act: Callable[[Release, Kubectl], float]


def disturb(disturbance: Disturbance, release: Release, users: Kubectl) -> Effect:
    """Do it to a release, which is left as the chart comes."""
    seconds, found = None, list[str]()
    try:
        seconds = round(disturbance.act(release, users), 1)
    except (*FAULTS, DisturbedError) as error:
        found.append(str(error))
    say(f"{disturbance.name}: {seconds} s {found or ''}")
    return Effect(name=disturbance.name, seconds=seconds, wrong=found)


class DisturbedError(RuntimeError):
    """It did not go as it has to; the message says how."""


@contextmanager
def _unnoticed(users: Kubectl, name: str) -> Iterator[TrainingJob]:
    """A job trains from before the block until after it, to its end, in the pods that it began with."""
    trained = job(users, name, LONG)
    trained.apply()
    try:
        trained.wait_iteration(UNDER_WAY, 4 * MINUTES)
        before = _lives(trained)
        yield trained
        phase = trained.status()["phase"]
        if phase != "Running":
            raise DisturbedError(f"the job was {phase} when it was over: nothing was seen")
        noticed = wrong(trained.wait_phase("Succeeded", 5 * MINUTES), LONG)
        after = _lives(trained)
        if noticed or after != before:
            raise DisturbedError(f"{noticed}, pods before {before}, after {after}")
    finally:
        trained.delete()


def _lives(trained: TrainingJob) -> dict[str, tuple[str, int]]:
    """Each pod's uid, and how often its containers began anew."""
    return {
        pod["metadata"]["name"]: (
            pod["metadata"]["uid"],
            sum(container["restartCount"] for container in pod["status"]["containerStatuses"]),
        )
        for pod in trained.pods()
    }


def _upgrade(release: Release, users: Kubectl) -> float:
    release.withdraw()
    with tempfile.TemporaryDirectory() as folder:
        release.install(chart=previous(Path(folder)))
    with _unnoticed(users, "upgraded"):
        began = time.monotonic()
        release.install()
        took = time.monotonic() - began
    release.test()
    return took


def _kill_leader(release: Release, users: Kubectl) -> float:
    release.install()
    with _unnoticed(users, "led") as trained:
        others = {pod["metadata"]["name"] for pod in _operators(release)}
        began = time.monotonic()
        killed = release.kill()
        others.remove(_pod_of(killed))
        release.kubectl("delete", "pod", _pod_of(killed), "--grace-period=0", "--force")
        reached = trained.status()["iteration"]
        release.wait_replaced(killed)
        if _pod_of(release.holder()) not in others:
            raise DisturbedError(f"{release.holder()} leads, and is none of {others}, which stood by")
        trained.wait_iteration(reached + 1, MINUTES)
        return time.monotonic() - began


def _no_operators(release: Release, _users: Kubectl) -> float:
    release.install()
    release.kubectl("scale", f"deployment/{NAME}", "--replicas=0")
    wait_until(lambda: not _operators(release), MINUTES, "no operator", 0.3)
    began = time.monotonic()
    try:
        release.test()
    except CommandError:
        took = time.monotonic() - began
    else:
        raise DisturbedError("helm test passed")
    said = release.kubectl("logs", f"pod/{NAME}-test")
    if "no operator gave the job a status" not in said:
        raise DisturbedError(f"helm test failed for another reason: {said}")
    return took


def _operators(release: Release) -> list[Any]:
    """Their pods."""
    return list(release.kubectl.get("pods", "--selector", SELECTOR)["items"])


def _pod_of(holder: str) -> str:
    """The pod of whom the Lease names."""
    return holder.partition("_")[0]


DISTURBANCES = (
    Disturbance(
        name="upgrade",
        about="`helm upgrade` from the chart before, beside a job",
        until="the new operators are ready",
        act=_upgrade,
    ),
    Disturbance(
        name="leader-killed",
        about="SIGKILL of the operator that leads, and its pod deleted, beside a job",
        until="the one that stood by has told of the job's progress",
        act=_kill_leader,
    ),
    Disturbance(
        name="no-operators",
        about="`helm test` after `kubectl scale --replicas=0`",
        until="the test has failed, as it has to",
        act=_no_operators,
    ),
)
