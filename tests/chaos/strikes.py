"""How each scenario strikes: it waits until it is time, does the harm, and repairs what nobody else will."""

from __future__ import annotations

import functools
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.chaos import control_plane, faults
from tests.chaos.load import JobChurn
from tests.chaos.refusal import refused
from tests.chaos.trial import MINUTES, Trial
from tests.cluster import network
from tests.cluster.images import TRAINER_IMAGE
from tests.cluster.training_job import JobError
from tests.cluster.waiting import wait_until

AWAY = 30.0
"""Seconds for which the API server is away, or refuses."""
CUT = 10.0
"""Seconds for which a short cut of the network lasts."""
SOME = 10
"""Iterations that show that a gang trains."""
MISSING_IMAGE = "localhost/detectron-trainer:not-yet"
FORCE = ("--grace-period=0", "--force")


def training(strike: Callable[[Trial], object]) -> Callable[[Trial], None]:
    """Strike in the middle of the training."""

    def act(trial: Trial) -> None:
        trial.train()
        strike(trial)

    return act


def worker(rank: int, number: signal.Signals) -> Callable[[Trial], None]:
    return training(functools.partial(faults.signal_worker, rank=rank, number=number))


def delete(index: int, *options: str) -> Callable[[Trial], None]:
    return training(lambda trial: faults.delete_pod(trial, index, *options))


def cut_network(trial: Trial) -> None:
    faults.cut_network(trial)
    faults.wait_restart(trial, 3 * MINUTES)
    network.heal()


def cut_network_from_operator(trial: Trial) -> None:
    """No operator hears from rank 0 how long it has waited, since none is on its side."""
    trial.job.wait_phase("Running", 2 * MINUTES)
    faults.gather_operators(trial, index=1)
    trial.train()
    cut_network(trial)


def cut_network_briefly(trial: Trial) -> None:
    faults.cut_network(trial)
    time.sleep(CUT)  # it is the time apart that is tested
    network.heal()
    trial.repaired()


def lose_node_for_a_while(trial: Trial) -> None:
    """One pod trains while the node is away, two train when it is back."""
    back = faults.lose_node(trial, 1)
    trial.job.wait(_gave_node_up, 2 * MINUTES, "the node to be given up")
    faults.wait_world(trial, 1, MINUTES)
    trial.train(trial.trained.history.completed + SOME)
    back()
    faults.wait_world(trial, 2, 2 * MINUTES)
    trial.train(trial.trained.history.completed + SOME)


def _gave_node_up(status: Mapping[str, Any]) -> bool:
    return any(told["reason"] == "NodeLost" for told in status.get("restartsByReason", ()))


def fill_output(trial: Trial) -> None:
    """A full volume fails the job; once there is room, the same job applied anew goes on."""
    filler = faults.fill_output(trial)
    faults.wait_phase(trial, "Failed", MINUTES)
    filler.unlink()
    trial.job.delete()
    trial.repaired()
    trial.job.apply()


def image_appears(trial: Trial) -> None:
    trial.strike()
    trial.job.wait(lambda status: "ErrImagePull" in status.get("message", ""), MINUTES, "the kubelet's words")
    faults.tag_image(trial, TRAINER_IMAGE, MISSING_IMAGE)
    trial.repaired()


def suspend_under_load(trial: Trial) -> None:
    load = trial.undo.enter_context(JobChurn(trial.cluster.kubeconfig, trial.kubectl))
    trial.train()
    wait_until(load.full.is_set, MINUTES, "the whole load")
    trial.strike()
    trial.job.suspend(True)
    trial.job.wait_phase("Suspended", 2 * MINUTES)
    trial.repaired()
    trial.job.suspend(False)


def operator_and_worker(trial: Trial) -> None:
    trial.release.kill()
    faults.signal_worker(trial, 1, signal.SIGKILL)


def operator_and_pod(trial: Trial) -> None:
    """The one that takes over has to wait for the Lease, and then to find out what is missing."""
    trial.release.kill()
    faults.delete_pod(trial, 1)


def refused_operator(trial: Trial) -> None:
    with refused(trial):
        faults.delete_pod(trial, 1)
        time.sleep(AWAY)  # it is the time without an answer that is tested
    trial.repaired()


def deleted_unseen(trial: Trial) -> None:
    """What the operator's watch would go on from is gone, and with it the deletion."""
    leader = trial.release.holder()
    with control_plane.frozen_operator(trial), control_plane.forgotten(trial):
        faults.delete_pod(trial, 1, *FORCE)
    trial.job.wait(lambda status: bool(status.get("replacements")), MINUTES, "the other pod")
    if trial.release.holder() != leader:
        raise JobError(f"{leader} did not live on")


def without_api_server(trial: Trial) -> None:
    trial.strike()
    control_plane.stop_api_server(trial, AWAY)


def restart_etcd(trial: Trial) -> None:
    trial.strike()
    control_plane.restart_etcd(trial)


def delete_job(trial: Trial) -> None:
    trial.strike()
    trial.kubectl("delete", "dtj", trial.job.name, "--wait=false")


def delete_while_starting(trial: Trial) -> None:
    trial.job.wait(lambda status: bool(status), MINUTES, "a status")
    delete_job(trial)


def delete_while_restarting(trial: Trial) -> None:
    faults.delete_pod(trial, 1)
    trial.job.wait_phase("Restarting", MINUTES)
    delete_job(trial)


def itself(trial: Trial) -> None:
    """The fault is in the job."""
    trial.strike()
