"""What the API server itself takes and refuses before any operator sees it, as kubectl shows it to a user."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.apiserver.conftest import install_crd
from tests.apiserver.manifest_cases import BAD, GOOD, VARIANTS, Case, Document
from tests.cluster.controlplane import ControlPlane
from tests.cluster.kubectl import Kubectl, KubectlError

EXAMPLES = sorted(
    path
    for path in (Path(__file__).parents[2] / "examples").glob("*/*.yaml")
    if "kind: DetectronTrainingJob" in path.read_text()
)


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    with ControlPlane(tmp_path_factory.mktemp("crd"), controllers=False, scheduler=False) as plane:
        install_crd(plane)
        yield plane.kubectl


def dry_run(kubectl: Kubectl, document: Document) -> Document:
    """The document as the API server would store it, or KubectlError with its refusal."""
    stored = kubectl("apply", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(document))
    return dict(json.loads(stored))


@pytest.mark.parametrize("case", BAD, ids=lambda case: str(case.name))
def test_refused_with_a_message_that_names_the_field(kubectl: Kubectl, case: Case) -> None:
    with pytest.raises(KubectlError) as refusal:
        dry_run(kubectl, case.document())
    missing = [words for words in case.expected if words not in str(refusal.value)]
    assert not missing, f"{refusal.value} does not say {missing}"


@pytest.mark.parametrize("case", VARIANTS, ids=lambda case: str(case.name))
def test_taken(kubectl: Kubectl, case: Case) -> None:
    document = case.document()
    assert dry_run(kubectl, document)["metadata"]["name"] == document["metadata"]["name"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_example_is_taken(kubectl: Kubectl, example: Path) -> None:
    assert dry_run(kubectl, yaml.safe_load(example.read_text()))["kind"] == "DetectronTrainingJob"


def test_defaults(kubectl: Kubectl) -> None:
    spec = dry_run(kubectl, GOOD)["spec"]
    assert spec["numNodes"] == 1
    assert spec["imagePullPolicy"] == "IfNotPresent"
    assert spec["checkpoint"] == {"keep": 3, "asynchronous": False, "gracePeriodSeconds": 120}
    assert spec["elasticPolicy"] == {"maxRestarts": 3}
    assert spec["metrics"] == {"period": 20, "categories": 0}
    assert spec["preflight"] == {
        "timeoutSeconds": 1800,
        "resources": {"requests": {"cpu": 1, "memory": "4Gi"}, "limits": {"memory": "4Gi"}},
    }
    assert spec["training"] == {
        "maxUnreadableImages": 0,
        "gradientAccumulation": 1,
        "channelsLast": False,
        "foldFrozenBatchNorm": False,
        "compileBackbone": False,
    }
    assert spec["runPolicy"] == {
        "suspend": False,
        "backoffLimit": 3,
        "maxBackoffSeconds": 300,
        "cleanPodPolicy": "Running",
    }


def test_defaults_of_placement_and_scheduling(kubectl: Kubectl) -> None:
    case = Case(
        "placed",
        {
            "spec/topologySpread": [{"topologyKey": "rack"}],
            "spec/colocation": {"topologyKey": "zone"},
            "spec/nodeAffinity": {"preferred": [{"key": "fast", "operator": "Exists"}]},
            "spec/runPolicy": {"schedulingPolicy": {"coscheduling": {}}},
        },
    )
    spec = dry_run(kubectl, case.document())["spec"]
    assert spec["topologySpread"][0]["maxSkew"] == 1
    assert spec["topologySpread"][0]["whenUnsatisfiable"] == "DoNotSchedule"
    assert spec["colocation"]["required"] is True
    assert spec["nodeAffinity"]["preferred"][0]["weight"] == 1
    assert spec["runPolicy"]["schedulingPolicy"]["coscheduling"] == {
        "schedulerName": "scheduler-plugins-scheduler",
        "scheduleTimeoutSeconds": 60,
    }


@pytest.mark.parametrize(
    "change",
    [
        {"spec/numNodes": 2},
        {"spec/numProcPerNode": 2},
        {"spec/weights": {"source": "/w.pth"}},
        {"spec/elasticPolicy": {"maxRestarts": 9}},
        {"spec/config/overrides": ["SOLVER.MAX_ITER 1"]},
        {"spec/config/base": "COCO-Detection/retinanet_R_50_FPN_1x.yaml"},
        {"spec/datasets/0/images": "/other"},
        {"spec/output": {"ephemeral": True}},
        {"spec/runPolicy": {"backoffLimit": 9}},
        {"spec/runPolicy": {"maxBackoffSeconds": 9}},
        {"spec/runPolicy/failurePolicy": {"rules": [{"action": "Fail", "onExitCodes": [1]}]}},
        {"spec/runPolicy": {"schedulingPolicy": {"volcano": {}}}},
        {"spec/priorityClassName": "research"},
        {"spec/serviceAccountName": "robot"},
        {"spec/colocation": {"topologyKey": "rack"}},
        {"spec/checkpoint": {"keep": 9}},
        {"spec/training": {"maxUnreadableImages": 9}},
        {"spec/volumes": [{"name": "v", "claimName": "v", "mountPath": "/v"}]},
        {"spec/env": [{"name": "A", "value": "1"}]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_only_suspend_can_be_changed(kubectl: Kubectl, change: dict[str, object]) -> None:
    kubectl.apply(GOOD)
    with pytest.raises(KubectlError, match="immutable"):
        kubectl.apply(Case("changed", change).document())
    kubectl.apply(Case("suspended", {"spec/runPolicy": {"suspend": True}}).document())
    kubectl("delete", "dtj", "balloons")


def test_an_elastic_gang_is_scaled_within_its_bounds(kubectl: Kubectl) -> None:
    elastic = {"spec/numNodes": 2, "spec/elasticPolicy": {"minNodes": 1, "maxNodes": 4}}
    kubectl.apply(Case("elastic", elastic).document())
    kubectl("scale", "dtj", "balloons", "--replicas=4")
    assert kubectl.get("dtj", "balloons")["spec"]["numNodes"] == 4
    with pytest.raises(KubectlError, match="must lie within"):
        kubectl("scale", "dtj", "balloons", "--replicas=5")
    with pytest.raises(KubectlError, match="immutable"):
        kubectl.apply(
            Case("more", {**elastic, "spec/elasticPolicy": {"minNodes": 1, "maxNodes": 8}}).document()
        )
    kubectl("delete", "dtj", "balloons")
    kubectl.apply(GOOD)
    with pytest.raises(KubectlError, match="numNodes is immutable"):
        kubectl("scale", "dtj", "balloons", "--replicas=2")
    kubectl("delete", "dtj", "balloons")


def test_printer_columns(kubectl: Kubectl) -> None:
    kubectl.apply(GOOD)
    status = {
        "phase": "Running",
        "progress": "45%",
        "iteration": 45,
        "eta": "1m5s",
        "restarts": 1,
        "metrics": [{"name": "total_loss", "value": "1.25"}, {"name": "lr", "value": "0.01"}],
        "evaluation": {"iteration": 40, "averagePrecision": "0.412"},
    }
    patch = json.dumps({"status": status})
    kubectl("patch", "dtj", "balloons", "--subresource=status", "--type=merge", "-p", patch)
    header, row = kubectl("get", "dtj").splitlines()
    assert header.split() == ["NAME", "PHASE", "PROGRESS", "ITER", "LOSS", "AP", "ETA", "RESTARTS", "AGE"]
    assert row.split()[:-1] == ["balloons", "Running", "45%", "45", "1.25", "0.412", "1m5s", "1"]
    kubectl("delete", "dtj", "balloons")
