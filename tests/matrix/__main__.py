"""`python -m tests.matrix`: install the chart in every variant on this machine's cluster."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import report as bench
from tests.apiserver import definitions
from tests.cluster import cluster as machinery
from tests.cluster import images
from tests.cluster.cluster import Cluster
from tests.cluster.kubectl import Kubectl
from tests.cluster.local import LocalCluster
from tests.cluster.workspace import with_digits
from tests.matrix import report
from tests.matrix.disturbance import DISTURBANCES, Effect, disturb
from tests.matrix.installation import install, prepared
from tests.matrix.variants import TLS_SECRET, USERS, variants

MONITORING = ("podmonitors", "PodMonitor"), ("prometheusrules", "PrometheusRule")
GROUP = "monitoring.coreos.com"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run variants and disturbances; 1 if the outcome of one is wrong."""
    every = [*report.VARIANTS, *(each.name for each in DISTURBANCES)]
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"some of {', '.join(every)}")
    parser.add_argument("--publish", type=Path, help="folder for chart-matrix.md and chart-matrix.json")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.name) - set(every):
        parser.error(f"no such variant: {', '.join(sorted(unknown))}")
    wanted = set(chosen.name or every)
    facts = bench.machine()
    with (
        _cluster() as cluster,
        _pinned(cluster, images.OPERATOR_IMAGE) as operator,
        _pinned(cluster, images.TRAINER_IMAGE) as trainer,
        _monitoring(cluster),
        _users(cluster) as users,
    ):
        pinned = variants(operator, trainer)
        outcomes = [install(variant, cluster, users) for variant in pinned if variant.name in wanted]
        effects = _disturb(wanted, cluster, users)
    print(report.installations(outcomes))
    print(report.disturbances(effects))
    if chosen.publish:
        report.publish(chosen.publish, facts, outcomes, effects)
    return 1 if any([*(each.wrong for each in outcomes), *(each.wrong for each in effects)]) else 0


def _disturb(wanted: set[str], cluster: Cluster, users: Kubectl) -> list[Effect]:
    """One after the other, to one release."""
    asked = [each for each in DISTURBANCES if each.name in wanted]
    if not asked:
        return []
    with prepared(report.VARIANTS["defaults"], cluster) as release:
        return [disturb(each, release, users) for each in asked]


@contextmanager
def _cluster() -> Iterator[Cluster]:
    """This machine's cluster with the images, both as they were before afterwards."""
    there = bool(machinery.status())
    cluster = machinery.up()
    try:
        cluster.load_image(images.operator(), images.trainer())
        yield cluster
    finally:
        if not there:
            machinery.down()


@contextmanager
def _monitoring(cluster: Cluster) -> Iterator[None]:
    """The kinds of Prometheus' operator, as far as to take any object."""
    definitions.install(LocalCluster().plane, *((f"{GROUP}/v1", kind) for _, kind in MONITORING))
    try:
        yield
    finally:
        cluster.kubectl("delete", "crd", *(f"{plural}.{GROUP}" for plural, _ in MONITORING))


@contextmanager
def _users(cluster: Cluster) -> Iterator[Kubectl]:
    """A user's namespace with the digits and a certificate."""
    authority = LocalCluster().plane.authority
    with with_digits(cluster, USERS) as users, tempfile.TemporaryDirectory() as folder:
        certificate, key = authority.issue("metrics", (), ["metrics.example"]).write(Path(folder) / "tls")
        users("create", "secret", "tls", TLS_SECRET, f"--cert={certificate}", f"--key={key}")
        yield users


@contextmanager
def _pinned(cluster: Cluster, image: str) -> Iterator[str]:
    """The digest of an image, by which the nodes know it meanwhile, as if they had pulled it by that."""
    (digest,) = {node.digest(image) for node in cluster.nodes}
    name = f"{image.rpartition(':')[0]}@{digest}"
    for node in cluster.nodes:
        node.tag(image, name)
    try:
        yield digest
    finally:
        for node in cluster.nodes:
            node.untag(name)


if __name__ == "__main__":
    sys.exit(main())
