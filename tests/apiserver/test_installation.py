"""The chart's own test, against the real API server."""

import itertools

import pytest
from kubernetes import client, config

from detectron_operator.installation_test import PATIENCE, InstallationError, prove
from tests.apiserver.operator_process import Operator
from tests.apiserver.space import Space
from tests.cluster.controlplane import ControlPlane


@pytest.fixture
def api(plane: ControlPlane) -> client.CustomObjectsApi:
    return client.CustomObjectsApi(config.new_client_from_config(str(plane.kubeconfig)))


def test_a_working_operator_proves_itself_and_nothing_stays(
    space: Space, operator: Operator, api: client.CustomObjectsApi
) -> None:
    said = prove(api, space.api.namespace, "trial")
    assert said == "Suspended: runPolicy.suspend is set"
    assert space.api.list("detectrontrainingjobs") == []
    assert space.pods() == []


def test_without_an_operator_it_says_so(space: Space, api: client.CustomObjectsApi) -> None:
    hurried = itertools.chain([0.0, 1.0], itertools.repeat(2 * PATIENCE)).__next__
    with pytest.raises(InstallationError, match=f"does one run, and does it serve {space.api.namespace}"):
        prove(api, space.api.namespace, "trial", clock=hurried)
    assert space.api.list("detectrontrainingjobs") == []
