"""What the worker is told by its environment: the trainer's half of ``docs/pod-contract.md``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Self

from detectron_trainer.failures import InvalidConfigError, Problem


@dataclass(frozen=True)
class Mounts:
    """Where the manifest's absolute paths lie on this machine; in a pod, where they say."""

    folders: Mapping[str, str] = field(default_factory=dict)

    def locate(self, path: str) -> Path:
        """The local path: the longest mount path that `path` lies in is replaced by its folder."""
        wanted = PurePosixPath(path)
        for mount in sorted(self.folders, key=len, reverse=True):
            if wanted.is_relative_to(mount):
                return Path(self.folders[mount]) / wanted.relative_to(mount)
        return Path(path)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse ``{"/mount/path": "/local/folder"}``.

        Raises:
            InvalidConfigError: it is something else.
        """
        try:
            folders = json.loads(text)
        except ValueError as error:
            raise InvalidConfigError([Problem("DETECTRON_PATHS", f"is not JSON: {error}")]) from error
        if not isinstance(folders, dict) or not all(isinstance(folder, str) for folder in folders.values()):
            raise InvalidConfigError(
                [Problem("DETECTRON_PATHS", f"must map paths to folders, not be {text}")]
            )
        return cls(folders)


@dataclass(frozen=True, kw_only=True)
class Pod:
    """The pod (or the local run that stands in for one, and has no job uid) that this process belongs to."""

    manifest: Path
    output: Path
    attempt: int
    job_uid: str = ""
    metrics_port: int
    termination_log: Path
    metrics_host: str = "0.0.0.0"
    metrics_tls: Path | None = None
    mounts: Mounts = field(default_factory=Mounts)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the ``DETECTRON_*`` variables.

        Raises:
            InvalidConfigError: names every variable that is missing or no number.
        """
        problems = []

        def text(name: str) -> str:
            if name not in environment:
                problems.append(
                    Problem(name, "is not set; start the worker by a pod or `detectron-trainer run`")
                )
            return environment.get(name, "")

        def number(name: str) -> int:
            value = text(name)
            if value and not value.isdecimal():
                problems.append(Problem(name, f"must be a number, not {value!r}"))
            return int(value) if value.isdecimal() else 0

        attempt = number("DETECTRON_ATTEMPT")
        pod = cls(
            manifest=Path(text("DETECTRON_MANIFEST")),
            output=Path(text("DETECTRON_OUTPUT")),
            attempt=attempt,
            job_uid=environment.get("PET_RDZV_ID", "").removesuffix(f"-{attempt}"),
            metrics_port=number("DETECTRON_METRICS_PORT"),
            termination_log=Path(text("DETECTRON_TERMINATION_LOG")),
            metrics_host=environment.get("DETECTRON_METRICS_HOST", "0.0.0.0"),
            metrics_tls=Path(tls) if (tls := environment.get("DETECTRON_METRICS_TLS")) else None,
            mounts=Mounts.from_json(environment.get("DETECTRON_PATHS", "{}")),
        )
        if problems:
            raise InvalidConfigError(problems)
        return pod
