"""One variant of the chart, from nothing to a trained model and back to nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import yaml

from tests.cluster.cluster import Cluster
from tests.cluster.command import CommandError
from tests.cluster.console import say
from tests.cluster.kubectl import Kubectl, KubectlError
from tests.cluster.release import CHART, Release
from tests.cluster.training_job import JobError
from tests.cluster.workspace import restricted
from tests.matrix.job import MINUTES, SHORT, job, wrong
from tests.matrix.switches import at
from tests.matrix.variants import USERS, Variant

CRD = "detectrontrainingjobs.detectron.dev"
FAULTS = (TimeoutError, CommandError, JobError, KubectlError)
"""How a cluster says that something is not as it has to be."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a variant; times in seconds, None where it did not come to that.

    Attributes:
        name: of the variant.
        ready: from `helm install` until it said that all is ready.
        succeeded: from `kubectl apply` of a job of two nodes until it had succeeded.
        tested: `helm test`, until it had passed.
        wrong: what was not as it has to be.
    """

    name: str
    ready: float | None
    succeeded: float | None
    tested: float | None
    wrong: list[str]


class _Watch:
    """Seconds since the one before, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def mark(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = round(now - self._last, 1)
        self._last = now


def install(variant: Variant, cluster: Cluster, users: Kubectl) -> Outcome:
    """Install a variant, have a job trained, test it, remove it."""
    watch, found = _Watch(), []
    try:
        with prepared(variant, cluster) as release:
            watch.mark("prepared")
            release.install(values=variant.values)
            watch.mark("ready")
            trained = job(users, variant.name, SHORT, variant.job)
            trained.apply()
            try:
                found += wrong(trained.wait_phase("Succeeded", 5 * MINUTES), SHORT)
                watch.mark("succeeded")
                release.test()
                watch.mark("tested")
            finally:
                trained.delete()
            found += _not_removed(variant, release)
    except FAULTS as error:
        found.append(str(error))
    taken = watch.seconds
    say(f"{variant.name}: {taken} {found or ''}")
    return Outcome(
        name=variant.name,
        ready=taken.get("ready"),
        succeeded=taken.get("succeeded"),
        tested=taken.get("tested"),
        wrong=found,
    )


@contextmanager
def prepared(variant: Variant, cluster: Cluster) -> Iterator[Release]:
    """What an administrator gives the release beforehand; of both nothing stays."""
    release = Release(cluster, variant.namespace)
    admin = release.kubectl
    own = nullcontext() if variant.namespace == USERS else restricted(cluster, variant.namespace)
    with own:
        try:
            if variant.crd:
                admin.apply(yaml.safe_load((CHART / "files" / "detectrontrainingjobs.yaml").read_text()))
            if variant.account:
                admin("create", "serviceaccount", variant.account)
            yield release
        finally:
            release.withdraw()
            admin("delete", "crd", CRD, "--ignore-not-found")
            if variant.account:
                admin("delete", "serviceaccount", variant.account)


def _not_removed(variant: Variant, release: Release) -> list[str]:
    """What `helm uninstall` leaves behind otherwise than it should."""
    made = release.manifest()
    release.withdraw()
    stdin = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
    left = release.cluster.kubectl("get", "-f", "-", "--ignore-not-found", "-o", "name", stdin=stdin).split()
    kept = [f"customresourcedefinition.apiextensions.k8s.io/{CRD}"] if _keeps_crd(variant) else []
    return [] if left == kept else [f"helm uninstall left {left}"]


def _keeps_crd(variant: Variant) -> bool:
    asked: list[Any] = [at(variant.values, f"crds.{switch}") for switch in ("enabled", "keep")]
    return False not in asked
