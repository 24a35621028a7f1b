"""Manifests as the trainer reads them: defaults, and every problem by its path."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from detectron_trainer.failures import InvalidConfigError
from detectron_trainer.job.manifest import Job, parse_job, read_job
from tests.unit.devices import PROCESSES

ROOT = Path(__file__).parents[2]


def document() -> dict[str, Any]:
    return {
        "apiVersion": "detectron.dev/v1alpha1",
        "kind": "DetectronTrainingJob",
        "metadata": {"name": "digits", "namespace": "vision", "labels": {"team": "a"}},
        "spec": {
            "config": {"base": "COCO-Detection/retinanet_R_50_FPN_1x.yaml"},
            "datasets": [{"name": "d", "split": "train", "annotations": "/data/d.json", "images": "/data/d"}],
            "output": {"ephemeral": True},
        },
    }


def problems(manifest: object) -> list[str]:
    with pytest.raises(InvalidConfigError) as caught:
        parse_job(json.dumps(manifest))
    return [str(problem) for problem in caught.value.problems]


def test_fills_in_the_api_server_s_defaults() -> None:
    spec = parse_job(json.dumps(document())).spec
    assert spec.checkpoint.keep == 3
    assert spec.checkpoint.grace_period_seconds == 120
    assert spec.metrics.period == 20
    assert spec.num_nodes == 1
    assert spec.processes_per_node == 1
    assert not spec.run_policy.suspend
    assert spec.run_policy.backoff_limit == 3


def crd_spec() -> dict[str, Any]:
    crd = yaml.safe_load((ROOT / "crds" / "detectrontrainingjobs.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    spec: dict[str, Any] = schema["properties"]["spec"]
    return spec


def described(schema: dict[str, Any], path: str = "spec") -> dict[str, object]:
    """Each field of a schema by its path, with its default where the schema has one."""
    fields: dict[str, object] = {}
    for name, field in schema.get("properties", {}).items():
        fields[f"{path}.{name}"] = field.get("default")
        fields |= described(field, f"{path}.{name}")
        fields |= described(field.get("items", {}), f"{path}.{name}")
    return fields


def test_knows_the_fields_and_defaults_of_the_crd() -> None:
    crd = {name: value for name, value in described(crd_spec()).items() if "tolerations." not in name}
    schema = Job.model_json_schema()

    def resolved(node: Any) -> Any:
        if isinstance(node, list):
            return [resolved(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return resolved(schema["$defs"][node["$ref"].rsplit("/", 1)[1]])
        if "anyOf" in node:
            options = [option for option in node["anyOf"] if option.get("type") != "null"]
            return resolved(options[0])
        return {key: resolved(value) for key, value in node.items()}

    ours = described(resolved(schema)["properties"]["spec"])
    assert ours.keys() == crd.keys()
    scalars = {name: value for name, value in crd.items() if isinstance(value, bool | int | str)}
    assert {name: ours[name] for name in scalars} == scalars


def test_reads_yaml_and_json(tmp_path: Path) -> None:
    for text in (yaml.safe_dump(document()), json.dumps(document())):
        (tmp_path / "job.yaml").write_text(text)
        assert read_job(tmp_path / "job.yaml").metadata.name == "digits"


def test_takes_what_the_operator_hands_over_and_the_examples() -> None:
    text = (ROOT / "examples" / "digits" / "job.yaml").read_text()
    manifest = next(part for part in yaml.safe_load_all(text) if part["kind"] == "DetectronTrainingJob")
    job = parse_job(json.dumps(manifest))
    assert parse_job(job.model_dump_json(by_alias=True, exclude_none=True)) == job


@pytest.mark.parametrize(("limits", "asked", "processes"), PROCESSES)
def test_counts_processes_as_the_operator_does(
    limits: dict[str, object], asked: int | None, processes: int
) -> None:
    manifest = document()
    manifest["spec"] |= {"resourcesPerNode": {"limits": limits}}
    manifest["spec"] |= {} if asked is None else {"numProcPerNode": asked}
    assert parse_job(json.dumps(manifest)).spec.processes_per_node == processes


def wrong(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    manifest = document()
    change(manifest["spec"])
    return manifest


KEY = {"name": "hub", "key": "token"}
KEYPOINTS = {"names": ["left", "right"], "sigmas": [0.1, 0.1]}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda spec: spec.update(numNode=2), "spec.numNode: unknown field, did you mean numNodes?"),
        (lambda spec: spec.pop("output"), "spec.output: is required"),
        (
            lambda spec: spec.update(numNodes="2"),
            "spec.numNodes: Input should be a valid integer, not '2'",
        ),
        (
            lambda spec: spec.update(numNodes=0),
            "spec.numNodes: Input should be greater than or equal to 1, not 0",
        ),
        (
            lambda spec: spec["datasets"][0].update(split="val"),
            "spec.datasets[0].split: Input should be 'train' or 'test', not 'val'",
        ),
        (
            lambda spec: spec["datasets"][0].update(split="test"),
            "spec: datasets needs at least one with split train",
        ),
        (
            lambda spec: spec["datasets"].append(spec["datasets"][0]),
            "spec: datasets must have distinct names",
        ),
        (
            lambda spec: spec["datasets"][0].update(keypoints={**KEYPOINTS, "sigmas": [0.1]}),
            "spec.datasets[0].keypoints: names and sigmas must be equally long and not empty",
        ),
        (
            lambda spec: spec["datasets"][0].update(keypoints={**KEYPOINTS, "flipMap": [["left", "wrong"]]}),
            "spec.datasets[0].keypoints: flipMap names wrong, which names does not hold",
        ),
        (
            lambda spec: spec.update(output={}),
            "spec.output: needs exactly one of claimName (an existing claim), claim (a new one) and "
            "ephemeral (lost with the pod)",
        ),
        (
            lambda spec: spec.update(
                env=[{"name": "TOKEN", "value": "a", "valueFrom": {"secretKeyRef": KEY}}]
            ),
            "spec.env[0]: needs exactly one of value and valueFrom",
        ),
        (
            lambda spec: spec.update(env=[{"name": "PYTHONPATH", "valueFrom": {"configMapKeyRef": KEY}}]),
            "spec.env[0]: PYTHONPATH needs a value, to which the folders of spec.code are added",
        ),
        (
            lambda spec: spec.update(envFrom=[{"prefix": "A_"}]),
            "spec.envFrom[0]: needs exactly one of secretRef and configMapRef",
        ),
        (
            lambda spec: spec.update(runPolicy={"schedulingPolicy": {}}),
            "spec.runPolicy.schedulingPolicy: needs exactly one of kueue, volcano and coscheduling",
        ),
        (
            lambda spec: spec.update(nodeAffinity={"required": [{"key": "a", "operator": "In"}]}),
            "spec.nodeAffinity.required[0]: values go with operator In and NotIn; Gt and Lt take one, a "
            "whole number; Exists and DoesNotExist none",
        ),
        (lambda spec: spec["config"].update(bas="x"), "spec.config.bas: unknown field, did you mean base?"),
    ],
)
def test_names_the_problem(change: Callable[[dict[str, Any]], None], expected: str) -> None:
    assert problems(wrong(change)) == [expected]


@pytest.mark.parametrize("override", ["SOLVER.BASE_LR", "1SOLVER 1", "SOLVER.BASE_LR=1"])
def test_an_override_is_a_key_and_a_value(override: str) -> None:
    manifest = document()
    manifest["spec"]["config"]["overrides"] = [override]
    assert problems(manifest)[0].startswith("spec.config.overrides[0]: String should match pattern")


def test_names_all_problems_at_once() -> None:
    manifest = document()
    manifest["kind"] = "Job"
    manifest["spec"]["metrics"] = {"period": 0}
    manifest["spec"]["datasets"][0].pop("images")
    assert [problem.split(":")[0] for problem in problems(manifest)] == [
        "kind",
        "spec.datasets[0].images",
        "spec.metrics.period",
    ]


def test_what_is_no_manifest_at_all_is_a_problem_too(tmp_path: Path) -> None:
    for text in ("", "[]", "a: [", "\x00"):
        with pytest.raises(InvalidConfigError):
            parse_job(text)
    with pytest.raises(InvalidConfigError, match="cannot be read"):
        read_job(tmp_path / "missing.yaml")
