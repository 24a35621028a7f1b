"""One training process under torchrun, from its environment to its exit code.

Exit codes: 0 when training is complete, 143 after a stop with a saved checkpoint, 1 otherwise; the
termination message says which it was.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import torch
from prometheus_client import CollectorRegistry

from detectron_trainer.checkpointing.weights import cache_folder
from detectron_trainer.failures import InvalidConfigError, Problem, TrainingError
from detectron_trainer.gang.peer_watch import PeerWatch
from detectron_trainer.gang.stop import StopRequest
from detectron_trainer.gang.torchrun_agent import end_for_good
from detectron_trainer.gang.world import World, join
from detectron_trainer.job.manifest import read_job
from detectron_trainer.job.pod import Pod
from detectron_trainer.metrics.server import MetricsServer
from detectron_trainer.metrics.tls import Certificate, CertificateError
from detectron_trainer.preflight.data import DataCheck
from detectron_trainer.preflight.inspection import inspect
from detectron_trainer.progress.board import ProgressBoard
from detectron_trainer.progress.document import Progress
from detectron_trainer.progress.parts import Phase, Reason, Verdict
from detectron_trainer.progress.termination_message import (
    clear_termination_message,
    write_termination_message,
)
from detectron_trainer.training.evaluation_run import EvaluationRun
from detectron_trainer.training.life import Life
from detectron_trainer.training.own_training import OwnTraining
from detectron_trainer.training.training_run import TrainingRun
from detectron_trainer.verdict import PeerFailedError, verdict_of

EXIT_CODES = {Reason.COMPLETED: 0, Reason.PREEMPTED: 143}

_logger = logging.getLogger(__name__)


def work(pod: Pod, environment: Mapping[str, str]) -> int:
    """Train `pod`'s job as the rank that torchrun's variables in `environment` say; returns the exit code."""
    rank, local_rank = int(environment["RANK"]), int(environment["LOCAL_RANK"])
    configure_logging(rank)
    if local_rank == 0:
        clear_termination_message(pod.termination_log)
    stop = StopRequest()
    stop.listen()
    board = ProgressBoard(
        Progress(
            phase=Phase.STARTING,
            attempt=pod.attempt,
            world_size=int(environment["WORLD_SIZE"]),
            iteration=0,
            last_updated_time=_now(),
        ),
        _now,
    )
    registry = CollectorRegistry()
    problems: list[Problem] = []
    server = MetricsServer(
        registry,
        board if rank == 0 else None,
        pod.metrics_port,
        pod.metrics_host,
        certificate=_certificate(pod, problems),
    )
    if local_rank == 0 and not problems:
        server.start()
    with closing(server):
        verdict, speaks = _run(pod, environment, board, registry, stop, problems)
        if speaks:
            _say_last_word(pod, board, verdict)
    if speaks and _is_final(verdict):
        end_for_good(environment)
    return EXIT_CODES.get(verdict.reason, 1)


def _run(
    pod: Pod,
    environment: Mapping[str, str],
    board: ProgressBoard,
    registry: CollectorRegistry,
    stop: StopRequest,
    problems: Sequence[Problem],
) -> tuple[Verdict, bool]:
    """Train unless there are `problems`; returns how it ended, and whether this process tells its pod."""
    rank, speaks_for_pod = int(environment["RANK"]), environment["LOCAL_RANK"] == "0"

    def leave(verdict: Verdict) -> None:
        _logger.error("leaving, as the main thread waits for other ranks: %s", verdict.message)
        _say_last_word(pod, board, verdict)
        if _is_final(verdict):
            end_for_good(environment)
        logging.shutdown()
        os._exit(EXIT_CODES.get(verdict.reason, 1))

    try:
        job = read_job(pod.manifest)
        size = int(environment["WORLD_SIZE"])
        data = DataCheck.SAMPLE if speaks_for_pod else DataCheck.NONE
        found = inspect(job, pod.output, pod.mounts, size, data=data, gpus=torch.cuda.is_available())
        cfg = found.cfg
        with join(environment, cfg.MODEL.DEVICE) as world, PeerWatch(world, leave), _shared_fate(world):
            _agree_on(world, [*problems, *found.problems])
            for warning in found.warnings if speaks_for_pod else ():
                _logger.warning("%s", warning)
            life = Life(
                job=job,
                cfg=cfg,
                recipe=found.recipe,
                pod=pod,
                world=world,
                board=board,
                registry=registry,
                clock=_now,
                leave=leave,
                downloads=cache_folder(environment),
            )
            _live(life, stop)
    except TrainingError as error:
        verdict = verdict_of(error, rank)
        log = _logger.info if verdict.reason is Reason.PREEMPTED else _logger.error
        log("%s: %s", verdict.reason, error)
        return verdict, speaks_for_pod or not error.concerted
    except PeerFailedError as error:
        _logger.error("rank %s failed first: %s", error.verdict.rank, error)
        return error.verdict, True
    # Whatever it is, the pod's last word is a verdict; the traceback goes to the log.
    except Exception as error:
        _logger.exception("rank %d failed", rank)
        return verdict_of(error, rank), True
    done = "evaluated after" if job.spec.evaluation.only else "trained"
    message = f"{done} {board.snapshot().iteration} iterations"
    return Verdict(reason=Reason.COMPLETED, message=message, retryable=False), speaks_for_pod


def _live(life: Life, stop: StopRequest) -> None:
    if life.job.spec.evaluation.only:
        EvaluationRun(life).evaluate(stop)
    elif life.job.spec.trainer is None:
        TrainingRun(life).train(stop)
    else:
        OwnTraining(life).train(stop)


def _is_final(verdict: Verdict) -> bool:
    """Whether workers that torchrun starts anew would come to the same end."""
    return not verdict.retryable and verdict.reason is not Reason.COMPLETED


def _certificate(pod: Pod, problems: list[Problem]) -> Certificate | None:
    if pod.metrics_tls is None:
        return None
    try:
        return Certificate(pod.metrics_tls)
    except CertificateError as error:
        problems.append(Problem("spec.metrics.tls.secretName", str(error)))
        return None


def _say_last_word(pod: Pod, board: ProgressBoard, verdict: Verdict) -> None:
    board.update(phase=Phase.FINISHED, verdict=verdict)
    write_termination_message(pod.termination_log, board.snapshot())


@contextmanager
def _shared_fate(world: World) -> Iterator[None]:
    """Tell the peers why this process fails; where one of them failed first, fail for its reason."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, TrainingError) or not error.concerted:
            posted = _posted_verdict(world)
            if posted is not None:
                raise PeerFailedError.from_json(posted) from error
            world.post_verdict(PeerFailedError(verdict_of(error, world.rank)).to_json())
        raise


def _posted_verdict(world: World) -> str | None:
    try:
        return world.posted_verdict()
    except RuntimeError as error:
        _logger.warning("rank 0, which knows who failed first, has ended: %s", error)
        return None


def _agree_on(world: World, problems: Sequence[Problem]) -> None:
    """Raises InvalidConfigError on every rank, with the problems of all, if any has some."""
    everyones = [problem for found in world.gather(problems) for problem in found]
    if everyones:
        raise InvalidConfigError(everyones)


def configure_logging(rank: int) -> None:
    """Rank 0 speaks in plain lines; of the others only warnings are heard, with their rank."""
    prefix = "" if rank == 0 else f"[rank {rank}] "
    logging.basicConfig(
        level=logging.INFO if rank == 0 else logging.WARNING,
        stream=sys.stdout,
        format=f"%(asctime)s %(levelname)s {prefix}%(message)s",
        force=True,
    )


def _now() -> datetime:
    return datetime.now(UTC)
