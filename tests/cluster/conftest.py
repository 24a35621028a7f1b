"""The cluster of the end-to-end tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cluster import cluster as machinery
from tests.cluster.cluster import Cluster
from tests.cluster.kubectl import Kubectl
from tests.cluster.release import Release
from tests.cluster.workspace import workspace

_FOREIGN = bool(os.environ.get("KUBECONFIG"))
# The tests of this machine's own cluster, and those that break its nodes, have no use for another's.
collect_ignore = ["test_machinery.py", "test_quickstart.py", "test_faults.py"] if _FOREIGN else []

NAMESPACE = "vision"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that tear the cluster down or install the chart come before those that share both."""
    first = {"test_machinery.py": 0, "test_quickstart.py": 1}
    items.sort(key=lambda item: first.get(item.path.name, len(first)))


@pytest.fixture(scope="session", autouse=True)
def as_it_was() -> Iterator[None]:
    """Take this machine's cluster down after the last test, unless it was there before the first."""
    before = _FOREIGN or bool(machinery.status())
    yield
    if not before:
        machinery.down()


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """KUBECONFIG's cluster if the caller sets it, else this machine's; tests fail where neither is."""
    return machinery.connect()


@pytest.fixture(scope="session")
def release(cluster: Cluster) -> Iterator[Release]:
    """The operator, installed by helm."""
    release = Release(cluster)
    release.install()
    yield release
    release.uninstall()


@pytest.fixture(scope="session")
def kubectl(cluster: Cluster, release: Release) -> Iterator[Kubectl]:
    """A user's namespace with the digits."""
    with workspace(cluster, NAMESPACE) as kubectl:
        yield kubectl
