"""The quick part of the fault suite, tests/chaos; `make chaos` runs all of it and measures."""

from __future__ import annotations

import pytest

from tests.chaos import scenario
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.trial import with_plugins
from tests.cluster.kubectl import Kubectl
from tests.cluster.release import Release

QUICK = ("host-memory-final", "node-drained", "pod-killed")
"""Where kernel, kubelet and scheduler take part; other tests of this layer kill rank 0 and suspend."""


@pytest.fixture(scope="module", autouse=True)
def plugins(kubectl: Kubectl) -> None:
    with_plugins(kubectl)


@pytest.mark.parametrize("name", QUICK)
def test_training_survives(release: Release, kubectl: Kubectl, name: str) -> None:
    (chosen,) = (each for each in SCENARIOS if each.name == name)
    assert scenario.run(chosen, release, kubectl).wrong == []
