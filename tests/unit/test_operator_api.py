"""Raw objects become jobs, or errors that name the field and what to change."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectron_operator.api import SpecError, parse
from detectron_operator.api.environment import Key, Source, Variable
from detectron_operator.api.storage import NewClaim
from detectron_operator.quantity import parse_quantity
from tests.unit.devices import PROCESSES, REFUSED
from tests.unit.operator_objects import job, raw_job, scheduled


def test_what_the_operator_acts_upon() -> None:
    spec = job(
        image="mine:1",
        imagePullSecrets=["pull"],
        numNodes=4,
        resourcesPerNode={"requests": {"cpu": 4}, "limits": {"nvidia.com/gpu": "2", "memory": "32Gi"}},
        output={"claimName": "runs", "subPath": "a/b"},
        volumes=[{"name": "d", "claimName": "data", "mountPath": "/data", "readOnly": True}],
        env=[
            {"name": "OMP_NUM_THREADS", "value": "4"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
        ],
        envFrom=[{"configMapRef": {"name": "proxy"}, "prefix": "HTTP_"}],
        code=[{"configMapName": "modules"}],
        nodeSelector={"pool": "gpu"},
        tolerations=[{"key": "gpu", "operator": "Exists"}],
        runPolicy={
            "suspend": True,
            "backoffLimit": 7,
            "maxBackoffSeconds": 60,
            "activeDeadlineSeconds": 7200,
            "startupDeadlineSeconds": 600,
            "progressDeadlineSeconds": 0,
            "ttlSecondsAfterFinished": 3600,
            "cleanPodPolicy": "All",
            "failurePolicy": {"rules": [{"action": "Fail", "onSignals": ["SIGSEGV"], "onExitCodes": [139]}]},
        },
    ).spec
    assert (spec.image, spec.image_pull_secrets, spec.num_nodes) == ("mine:1", ("pull",), 4)
    assert spec.num_proc_per_node == 2
    assert spec.resources.requests == {"cpu": "4"}
    assert spec.resources.limits == {"nvidia.com/gpu": "2", "memory": "32Gi"}
    assert (spec.output.claim_name, spec.output.sub_path) == ("runs", "a/b")
    assert spec.volumes[0].claim_name == "data"
    assert spec.env == (
        Variable(name="OMP_NUM_THREADS", value="4"),
        Variable(name="TOKEN", value=Key(kind="secretKeyRef", name="hub", key="token")),
    )
    assert spec.env_from == (Source(kind="configMapRef", name="proxy", prefix="HTTP_"),)
    assert spec.code == ("modules",)
    assert spec.placement.node_selector == {"pool": "gpu"}
    assert spec.placement.tolerations == ({"key": "gpu", "operator": "Exists"},)
    assert (spec.run_policy.suspend, spec.run_policy.backoff_limit) == (True, 7)
    assert spec.grace_period_seconds == 120


@pytest.mark.parametrize(("limits", "asked", "processes"), PROCESSES)
def test_one_process_a_gpu(limits: dict[str, object], asked: int | None, processes: int) -> None:
    parsed = job(resourcesPerNode={"limits": limits}, numProcPerNode=asked)
    assert parsed.spec.num_proc_per_node == processes


@pytest.mark.parametrize(("limits", "asked", "path", "words"), REFUSED)
def test_devices_that_do_not_go_with_the_processes(
    limits: dict[str, object], asked: int | None, path: str, words: str
) -> None:
    with pytest.raises(SpecError) as error:
        job(resourcesPerNode={"limits": limits}, numProcPerNode=asked)
    assert error.value.path == path
    assert words in error.value.message


GPUS = {"limits": {"nvidia.com/gpu": "4"}}


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        (
            {"resourcesPerNode": {"limits": {"cpu": "1e1.5"}}},
            "spec.resourcesPerNode.limits[cpu]",
            "not a quantity",
        ),
        (
            {"resourcesPerNode": {"limits": {"cpu": "-1"}}},
            "spec.resourcesPerNode.limits[cpu]",
            "must not be negative",
        ),
        (
            {"resourcesPerNode": {"requests": {"cpu": "5"}, "limits": {"cpu": "4"}}},
            "spec.resourcesPerNode.requests[cpu]",
            "more than the limit",
        ),
        (
            {"resourcesPerNode": {"requests": {"nvidia.com/gpu": "1"}}},
            "spec.resourcesPerNode.requests[nvidia.com/gpu]",
            "needs an equal entry in limits",
        ),
        (
            {"resourcesPerNode": {"requests": {"nvidia.com/gpu": "1"}, **GPUS}},
            "spec.resourcesPerNode.requests[nvidia.com/gpu]",
            "must equal the limit",
        ),
        (
            {"resourcesPerNode": {"limits": {"cpu": True}}},
            "spec.resourcesPerNode.limits[cpu]",
            "must be a quantity, not bool",
        ),
        ({"numNodes": None}, "spec.numNodes", "is missing"),
        ({"numNodes": "2"}, "spec.numNodes", "must be a whole number, not str"),
        ({"numNodes": True}, "spec.numNodes", "must be a whole number, not bool"),
        ({"numNodes": 10**9}, "spec.numNodes", "must lie in 1..512"),
        ({"numProcPerNode": 0}, "spec.numProcPerNode", "must lie in 1..64"),
        (
            {
                "elasticPolicy": {"minNodes": 1, "maxNodes": 2, "maxRestarts": 0},
                "runPolicy": scheduled(
                    {"coscheduling": {"schedulerName": "s", "scheduleTimeoutSeconds": 60}}
                ),
            },
            "spec.elasticPolicy.minNodes",
            "does not go with runPolicy.schedulingPolicy",
        ),
        ({"output": {}}, "spec.output", "exactly one of claimName, claim and ephemeral"),
        ({"output": {"claimName": "c", "ephemeral": True}}, "spec.output", "exactly one"),
        ({"output": {"claim": {}}}, "spec.output.claim.size", "is missing"),
        ({"output": {"claim": {"size": "-1Gi"}}}, "spec.output.claim.size", "must not be negative"),
        ({"env": [{"name": "A", "valueFrom": {}}]}, "spec.env[0].valueFrom", "needs secretKeyRef or"),
        ({"envFrom": [{"prefix": "A_"}]}, "spec.envFrom[0]", "needs secretRef or configMapRef"),
        ({"code": [{}]}, "spec.code[0].configMapName", "is missing"),
        (
            {"checkpoint": {"gracePeriodSeconds": 5}},
            "spec.checkpoint.gracePeriodSeconds",
            "must lie in 10..3600",
        ),
        ({"runPolicy": "none"}, "spec.runPolicy", "must be an object, not str"),
        ({"runPolicy": {"backoffLimit": 1}}, "spec.runPolicy.suspend", "is missing"),
        (
            {"runPolicy": {"suspend": False, "backoffLimit": 1, "schedulingPolicy": {}}},
            "spec.runPolicy.schedulingPolicy",
            "exactly one of kueue, volcano, coscheduling",
        ),
        (
            {"runPolicy": {"suspend": False, "backoffLimit": 1, "schedulingPolicy": {"kueue": {}}}},
            "spec.runPolicy.schedulingPolicy.kueue.queue",
            "is missing",
        ),
        (
            {"topologySpread": [{"topologyKey": "rack", "maxSkew": 0}]},
            "spec.topologySpread[0].maxSkew",
            "must lie in 1..512",
        ),
        (
            {"nodeAffinity": {"preferred": [{"key": "a", "operator": "Exists"}]}},
            "spec.nodeAffinity.preferred[0].weight",
            "is missing",
        ),
        ({"colocation": {"topologyKey": "rack"}}, "spec.colocation.required", "is missing"),
        ({"volumes": [{"name": "v"}]}, "spec.volumes[0].claimName", "is missing"),
        ({"env": [{"name": "A", "value": 1}]}, "spec.env[0].value", "must be text, not int"),
        ({"config": {"base": "b", "inline": "ü" * 600_000}}, "spec", "larger than 1000000 bytes"),
    ],
)
def test_what_cannot_be_honoured_names_its_field(fields: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(SpecError) as error:
        job(**fields)
    assert error.value.path == path
    assert words in error.value.message


@pytest.mark.parametrize("name", ["9lives", "a" * 51, "a.b", "Train", "-a", "a-"])
def test_a_name_that_cannot_name_pods(name: str) -> None:
    with pytest.raises(SpecError, match=r"metadata\.name"):
        job(name=name)


def test_a_claim_of_its_own() -> None:
    claim = {"size": "10Gi", "storageClassName": "fast", "accessModes": ["ReadWriteOnce"]}
    output = job(output={"claim": claim | {"whenDeleted": "Delete"}}).spec.output
    assert output.claim_name is None
    assert output.new_claim == NewClaim(
        size="10Gi", storage_class="fast", access_modes=("ReadWriteOnce",), retained=False
    )


def test_deleting_and_status() -> None:
    raw = raw_job(status={"phase": "Running"})
    raw["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:01Z"
    parsed = parse(raw)
    assert parsed.deleting
    assert parsed.status == {"phase": "Running"}
    assert job().status == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(raw_job()["spec"])), JSON)
def test_nonsense_in_any_field_is_a_spec_error_or_a_job(field: str, nonsense: object) -> None:
    raw = raw_job()
    raw["spec"][field] = nonsense
    try:
        parse(raw)
    except SpecError as error:
        assert error.path.startswith("spec")  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("500m", "0.5"),
        ("1Ki", "1024"),
        ("1.5Gi", "1610612736"),
        ("2k", "2000"),
        (3, "3"),
        ("1e3", "1000"),
        ("1E3", "1000"),
        ("1E", "1e18"),
        ("5.", "5"),
        (".5", "0.5"),
        ("100n", "1e-7"),
    ],
)
def test_quantities(written: str | int, number: str) -> None:
    assert parse_quantity(written) == Decimal(number)


@pytest.mark.parametrize("written", ["", "five", "1ki", "1 Gi", "1e1.5", "--1", "1e9999", "٣"])
def test_not_quantities(written: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(written)
