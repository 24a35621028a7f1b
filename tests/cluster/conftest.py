"""The cluster of the end-to-end tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cluster import cluster as machinery
from tests.cluster.cluster import Cluster

_FOREIGN = bool(os.environ.get("KUBECONFIG"))
# The tests of this machine's own cluster have nothing to test when the caller brings another.
collect_ignore = ["test_machinery.py"] if _FOREIGN else []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that tear the cluster down come before those that share it."""
    items.sort(key=lambda item: item.path.name != "test_machinery.py")


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
