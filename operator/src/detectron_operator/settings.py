"""What can be set when the operator starts: each field is a flag and an environment variable."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PREFIX = "DETECTRON_OPERATOR_"


def _setting(help: str, default: Any = dataclasses.MISSING) -> Any:
    return dataclasses.field(default=default, metadata={"help": help})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The operator's settings. Durations are in seconds."""

    trainer_image: str = _setting("image of the pods of jobs that name none")
    namespaces: tuple[str, ...] = _setting("namespaces to serve, comma-separated; empty: all", ())
    lease: str = _setting("namespace/name of the Lease without which it only stands by; empty: none", "")
    lease_duration: float = _setting("after which the Lease of an operator that died is free", 10.0)
    health_port: int = _setting("port of /healthz and /readyz", 8080)
    metrics_port: int = _setting("port of /metrics", 8081)
    workers: int = _setting("jobs worked on at once", 256)
    resync_period: float = _setting("between two complete comparisons with the API server", 300.0)
    poll_period: float = _setting("between two looks at a running job's progress", 2.0)
    progress_period: float = _setting("at least between two status writes that only report progress", 5.0)
    progress_port: int = _setting("port on which the training pods serve /progress", 9464)
    annotate_for_prometheus: bool = _setting("training pods with prometheus.io/scrape and where", False)
    client_qps: float = _setting("requests a second to the API server, on average", 500.0)
    client_burst: int = _setting("requests to the API server at once", 1000)
    request_timeout: float = _setting("after which a request to the API server counts as unanswered", 30.0)
    stop_timeout: float = _setting("that work under way has to finish when told to stop", 20.0)
    log_format: str = _setting("json or plain", "json")


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Settings from flags, else from environment variables, else the defaults.

    Exits with a usage message if one is malformed, unknown or missing.
    """
    parser = argparse.ArgumentParser(
        prog="detectron-operator",
        description="Runs DetectronTrainingJobs. A flag --some-thing can also be set "
        f"as {PREFIX}SOME_THING in the environment.",
        allow_abbrev=False,
    )
    for field in dataclasses.fields(Settings):
        flag = "--" + field.name.replace("_", "-")
        given = environ.get(PREFIX + field.name.upper())
        if given is None and field.default is dataclasses.MISSING:
            parser.add_argument(flag, required=True, help=field.metadata["help"])
        else:
            default = field.default if given is None else given
            parser.add_argument(
                flag,
                type=_READERS[str(field.type)],
                default=default,
                help=f"{field.metadata['help']} (default: %(default)s)",
            )
    chosen = parser.parse_args(arguments)
    if chosen.log_format not in ("json", "plain"):
        parser.error(f"--log-format must be json or plain, not {chosen.log_format!r}")
    if chosen.lease and not re.fullmatch("[^/]+/[^/]+", chosen.lease):
        parser.error(f"--lease must be namespace/name, not {chosen.lease!r}")
    return Settings(**vars(chosen))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _switch(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


_READERS: Mapping[str, Callable[[str], object]] = {
    "str": str,
    "tuple[str, ...]": _names,
    "int": _count,
    "float": _positive,
    "bool": _switch,
}
