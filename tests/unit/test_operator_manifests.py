"""Children: the golden ones word by word, and what holds for every job that the CRD lets through."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectron_operator import labels, names
from detectron_operator.api import MAX_NODES, TrainingJob
from detectron_operator.manifests.claim import output_claim
from detectron_operator.manifests.configmap import configmap
from detectron_operator.manifests.gang import pod_group
from detectron_operator.manifests.pod import pod
from detectron_operator.manifests.preflight import preflight_pod
from detectron_operator.manifests.service import service
from detectron_operator.manifests.torchrun import environment
from tests.unit.operator_objects import job, scheduled, suspended
from tests.unit.pod_security import violations

GOLDEN = Path(__file__).parent / "golden"
KUBERNETES = "1.34"
IMAGE = "registry.example/trainer:1"

RICH = {
    "image": "registry.example/mine:2",
    "imagePullSecrets": ["pull"],
    "serviceAccountName": "bucket-reader",
    "numNodes": 3,
    "resourcesPerNode": {
        "requests": {"cpu": 4},
        "limits": {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "2"},
    },
    "output": {"claimName": "runs", "subPath": "digits/a"},
    "volumes": [
        {"name": "tmp", "claimName": "coco", "mountPath": "/data", "subPath": "2017", "readOnly": True},
        {"name": "cache", "claimName": "cache", "mountPath": "/cache", "readOnly": False},
    ],
    "env": [{"name": "OMP_NUM_THREADS", "value": "4"}],
    "nodeSelector": {"pool": "gpu"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
}


@pytest.mark.parametrize(
    ("file", "manifest"),
    [
        ("pod-first.json", pod(job(), 0, 0, IMAGE)),
        ("pod-peer-of-a-rich-job.json", pod(job(**RICH), 12, 2, IMAGE)),
        ("pod-first-of-a-rich-job.json", pod(job(**RICH), 12, 0, IMAGE)),
        ("pod-preflight-of-a-rich-job.json", preflight_pod(job(**RICH), IMAGE)),
        ("service.json", service(job())),
        ("configmap.json", configmap(job())),
    ],
)
def test_golden(file: str, manifest: dict[str, Any]) -> None:
    assert _lines(manifest) == _lines(json.loads((GOLDEN / file).read_text()))


def _lines(manifest: object) -> str:
    """Line by line in an order of its own, so that a failure shows what differs and nothing else."""
    return json.dumps(manifest, indent=1, sort_keys=True)


def test_metrics_over_tls() -> None:
    manifest: Any = pod(job(metrics={"tls": {"secretName": "metrics"}}), 0, 1, IMAGE)
    assert manifest["metadata"]["labels"]["detectron.dev/metrics-scheme"] == "https"
    (container,) = manifest["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    folder = {variable["name"]: variable["value"] for variable in container["env"]}["DETECTRON_METRICS_TLS"]
    (volume,) = (volume for volume in manifest["spec"]["volumes"] if volume["name"] == "job")
    (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == "job")
    secret = volume["projected"]["sources"][1]["secret"]
    assert secret["name"] == "metrics"
    assert {f"{mount['mountPath']}/{item['path']}" for item in secret["items"]} == {
        f"{folder}/tls.crt",
        f"{folder}/tls.key",
    }


@pytest.mark.parametrize(("metrics", "scheme"), [({}, "http"), ({"tls": {"secretName": "metrics"}}, "https")])
def test_annotations_tell_prometheus_where_a_pod_serves_metrics(metrics: Any, scheme: str) -> None:
    told = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "9464",
        "prometheus.io/path": "/metrics",
        "prometheus.io/scheme": scheme,
    }
    queued = job(metrics=metrics, runPolicy=scheduled({"volcano": {"schedulerName": "volcano"}}))
    silent, loud = (pod(queued, 0, 0, IMAGE, annotated=annotated) for annotated in (False, True))
    assert _annotations(loud) == _annotations(silent) | told


def _annotations(manifest: Any) -> Any:
    return manifest["metadata"]["annotations"]


def test_the_environment_is_the_contract_s() -> None:
    contract = (Path(__file__).parents[2] / "docs" / "pod-contract.md").read_text()
    table = contract[contract.index("| Variable") : contract.index("`spec.env` comes on top")]
    variables = (row.split("|")[1] for row in table.splitlines() if row.startswith("|"))
    promised = {name for cell in variables for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", cell)}
    encrypted = job(metrics={"tls": {"secretName": "metrics"}})
    assert promised == environment(encrypted, 0, 0).keys()


def test_a_pod_without_a_claim_writes_to_its_own_directory() -> None:
    volumes = {v["name"]: v for v in _spec(pod(job(output={"ephemeral": True}), 0, 0, IMAGE))["volumes"]}
    assert volumes["output"] == {"name": "output", "emptyDir": {}}


def test_the_manifest_in_the_pod_is_the_same_in_every_attempt() -> None:
    assert configmap(job(runPolicy=suspended(True))) == configmap(job())


CLAIM = {"size": "1Gi", "accessModes": ["ReadWriteOnce"], "storageClassName": "fast"}
SCHEDULERS = [
    {"kueue": {"queue": "vision"}},
    {"volcano": {"schedulerName": "volcano"}},
    {"coscheduling": {"schedulerName": "gang", "scheduleTimeoutSeconds": 60}},
]


@pytest.mark.parametrize(("when_deleted", "owned"), [("Retain", False), ("Delete", True)])
def test_a_claim_of_its_own_outlives_the_job_unless_asked(when_deleted: str, owned: bool) -> None:
    given = job(output={"claim": CLAIM | {"whenDeleted": when_deleted}, "subPath": "a"})
    claim: Any = output_claim(given)
    assert claim["metadata"]["name"] == "train-output"
    assert claim["metadata"]["labels"] == labels.of_job("train")
    assert ("ownerReferences" in claim["metadata"]) is owned
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "fast",
    }
    first, peer = (_spec(pod(given, 0, index, IMAGE)) for index in (0, 1))
    outputs = [next(v for v in spec["volumes"] if v["name"] == "output") for spec in (first, peer)]
    assert outputs[0]["persistentVolumeClaim"] == {"claimName": "train-output"}
    assert outputs[1]["emptyDir"] == {}, "one ReadWriteOnce claim serves many nodes"


def test_code_is_found_before_what_the_user_s_path_has() -> None:
    given = job(
        code=[{"configMapName": "models"}, {"configMapName": "loops"}],
        env=[{"name": "PYTHONPATH", "value": "/data/python"}],
    )
    spec = _spec(pod(given, 0, 1, IMAGE))
    assert _variables({"spec": spec})["PYTHONPATH"] == (
        "/opt/detectron/code/models:/opt/detectron/code/loops:/data/python"
    )
    mounts = {m["mountPath"]: m for m in spec["containers"][0]["volumeMounts"]}
    volumes = {v["name"]: v for v in spec["volumes"]}
    for name in ("models", "loops"):
        mount = mounts[f"/opt/detectron/code/{name}"]
        assert mount["readOnly"] is True
        assert volumes[mount["name"]]["configMap"] == {"name": name}


def test_the_check_has_the_first_node_s_mounts_and_no_gpu() -> None:
    given = job(**RICH, code=[{"configMapName": "models"}], runPolicy=scheduled(SCHEDULERS[0]))
    checker, first = _spec(preflight_pod(given, IMAGE)), _spec(pod(given, 0, 0, IMAGE))
    assert checker["volumes"] == first["volumes"]
    assert checker["containers"][0]["volumeMounts"] == first["containers"][0]["volumeMounts"]
    assert checker["containers"][0]["resources"] == {"requests": {}, "limits": {"memory": "4Gi"}}
    assert checker["nodeSelector"] == first["nodeSelector"]
    assert checker["activeDeadlineSeconds"] == 1800
    assert checker["containers"][0]["command"][3:] == [
        *("--termination-log", "/dev/termination-log"),
        *("--volume", "tmp=/data", "--volume", "cache=/cache", "--code", "models=/opt/detectron/code/models"),
    ]
    variables = _variables({"spec": checker})
    assert variables["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert not [name for name in variables if name and name.startswith("PET_")]
    tags: Any = preflight_pod(given, IMAGE)["metadata"]
    assert not [name for name in tags["labels"] if "kueue" in name], "it is not held back by a queue"


def test_what_secrets_hold_is_named_and_never_before_the_contract() -> None:
    token = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}
    given = job(
        env=[token], envFrom=[{"secretRef": {"name": "s3"}}, {"configMapRef": {"name": "p"}, "prefix": "P_"}]
    )
    container = _spec(pod(given, 0, 0, IMAGE))["containers"][0]
    assert token in container["env"]
    assert container["envFrom"] == [
        {"secretRef": {"name": "s3"}},
        {"configMapRef": {"name": "p"}, "prefix": "P_"},
    ]
    assert {"name": "PET_RDZV_BACKEND", "value": "c10d"} in container["env"], "a variable goes before envFrom"


DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?", fullmatch=True)
QUANTITY = st.sampled_from(["1", "500m", "2.5", "16Gi", "1e3", "100M"])
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
VOLUMES = st.lists(
    st.fixed_dictionaries(
        {"name": LABEL, "claimName": LABEL, "readOnly": st.booleans()},
        optional={"subPath": st.from_regex(r"[a-z][a-z/]{0,9}", fullmatch=True)},
    ),
    max_size=4,
    unique_by=lambda volume: volume["name"],
).map(lambda volumes: [v | {"mountPath": f"/mnt/{i}"} for i, v in enumerate(volumes)])
NODE_RULES = st.lists(
    st.builds(
        lambda key, values: {"key": key, "operator": "In", "values": values}, LABEL, st.just(["a", "b"])
    )
    | st.builds(lambda key: {"key": key, "operator": "Exists"}, LABEL),
    min_size=1,
    max_size=3,
)


def _weighed(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rule | {"weight": 1 + index} for index, rule in enumerate(rules)]


JOBS = st.builds(
    job,
    name=st.from_regex(r"[a-z]([-a-z0-9]{0,48}[a-z0-9])?", fullmatch=True),
    numNodes=st.integers(1, MAX_NODES),
    numProcPerNode=st.none() | st.integers(1, 64),
    image=st.none() | st.just("x/y:z"),
    resourcesPerNode=st.none()
    | st.fixed_dictionaries({"limits": st.fixed_dictionaries({"memory": QUANTITY})}),
    code=st.none()
    | st.lists(st.builds(lambda name: {"configMapName": name}, LABEL), max_size=3, unique_by=str),
    envFrom=st.none()
    | st.lists(st.builds(lambda name: {"secretRef": {"name": name}, "prefix": "P_"}, LABEL), max_size=2),
    output=st.just({"ephemeral": True})
    | st.builds(
        lambda deleted: {"claim": CLAIM | {"whenDeleted": deleted}}, st.sampled_from(["Retain", "Delete"])
    )
    | st.fixed_dictionaries({"claimName": LABEL}, optional={"subPath": st.just("a/b")}),
    volumes=VOLUMES,
    env=st.lists(
        st.builds(
            lambda name, source: {"name": name, **source},
            st.from_regex(r"[A-Z_][A-Z0-9_]{0,9}", fullmatch=True),
            st.fixed_dictionaries({"value": TEXT})
            | st.builds(lambda name: {"valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}, LABEL),
        ),
        max_size=3,
        unique_by=lambda item: item["name"],
    ),
    nodeSelector=st.none() | st.dictionaries(LABEL, LABEL, max_size=2),
    nodeAffinity=st.none()
    | st.fixed_dictionaries(
        {}, optional={"required": NODE_RULES, "preferred": NODE_RULES.map(lambda rules: _weighed(rules))}
    ),
    topologySpread=st.none()
    | st.lists(
        st.fixed_dictionaries(
            {
                "topologyKey": LABEL,
                "maxSkew": st.integers(1, 512),
                "whenUnsatisfiable": st.sampled_from(["DoNotSchedule", "ScheduleAnyway"]),
            }
        ),
        max_size=4,
        unique_by=lambda spread: spread["topologyKey"],
    ),
    colocation=st.none() | st.fixed_dictionaries({"topologyKey": LABEL, "required": st.booleans()}),
    priorityClassName=st.none() | LABEL,
    runtimeClassName=st.none() | LABEL,
    serviceAccountName=st.none() | LABEL,
    runPolicy=st.sampled_from([None, *SCHEDULERS]).map(scheduled),
    tolerations=st.none()
    | st.lists(st.fixed_dictionaries({"key": LABEL, "operator": st.just("Exists")}), max_size=2),
    checkpoint=st.fixed_dictionaries({"gracePeriodSeconds": st.integers(10, 3600)}),
)


def _spec(manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = manifest["spec"]
    return found


@settings(max_examples=60, deadline=None)
@given(JOBS, st.integers(0, 10**8 - 1), st.data())
def test_every_pod_is_valid_and_restricted(any_job: TrainingJob, attempt: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, any_job.spec.num_nodes - 1))
    manifest: dict[str, Any] = pod(any_job, attempt, index, IMAGE)
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    assert list(violations(_spec(manifest))) == []
    container = _spec(manifest)["containers"][0]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert DNS_LABEL.fullmatch(manifest["metadata"]["name"])
    assert DNS_LABEL.fullmatch(_spec(manifest)["hostname"])
    owners = manifest["metadata"]["ownerReferences"]
    assert [(owner["uid"], owner["controller"]) for owner in owners] == [(any_job.uid, True)]
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    volumes = [volume["name"] for volume in _spec(manifest)["volumes"]]
    assert len(volumes) == len(set(volumes))
    assert mounts == set(volumes)
    assert all(DNS_LABEL.fullmatch(volume) for volume in volumes)
    paths = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert len(paths) == len(set(paths))
    checker: dict[str, Any] = preflight_pod(any_job, IMAGE)
    kubernetes_validate.validate(checker, KUBERNETES, strict=True)
    assert list(violations(_spec(checker))) == []
    assert DNS_LABEL.fullmatch(checker["metadata"]["name"])
    for spec in (_spec(manifest), _spec(checker)):
        assert spec.get("serviceAccountName") == any_job.spec.service_account
        assert spec["automountServiceAccountToken"] is False
    variables = {item["name"]: item.get("value") for item in container["env"]}
    assert len(variables) == len(container["env"])
    assert environment(any_job, attempt, index).items() <= variables.items()
    assert pod(any_job, attempt, index, IMAGE) == manifest


@settings(max_examples=60, deadline=None)
@given(JOBS, st.data())
def test_no_child_names_another_namespace(any_job: TrainingJob, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, any_job.spec.num_nodes - 1))
    children = [
        pod(any_job, 0, index, IMAGE),
        preflight_pod(any_job, IMAGE),
        service(any_job),
        configmap(any_job),
        *(found for found in (output_claim(any_job), pod_group(any_job)) if found is not None),
    ]
    for child in children:
        assert list(_namespaces(child)) == [(("metadata", "namespace"), any_job.namespace)]


def _namespaces(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Every field, at any depth, whose name begins so: `namespace`, `namespaces`, `namespaceSelector`."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name.startswith("namespace"):
                yield (*path, name), inner
            else:
                yield from _namespaces(inner, (*path, name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _namespaces(inner, path)


def test_a_job_may_say_itself_how_long_its_pods_stay_on_a_lost_node() -> None:
    own = {
        "key": "node.kubernetes.io/unreachable",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 600,
    }
    ours = {**own, "key": "node.kubernetes.io/not-ready", "tolerationSeconds": 15}
    assert _spec(pod(job(tolerations=[own]), 0, 0, IMAGE))["tolerations"] == [own, ours]
    everything = {"operator": "Exists"}
    assert _spec(pod(job(tolerations=[everything]), 0, 0, IMAGE))["tolerations"] == [everything]


PLACED = {
    "nodeAffinity": {
        "required": [{"key": "gpu.vendor/memory", "operator": "Gt", "values": ["39000"]}],
        "preferred": [{"key": "pool", "operator": "NotIn", "values": ["spot"], "weight": 7}],
    },
    "topologySpread": [{"topologyKey": "rack", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}],
    "colocation": {"topologyKey": "topology.kubernetes.io/zone", "required": True},
    "priorityClassName": "research",
    "runtimeClassName": "nvidia",
}


def test_the_scheduler_is_told_what_the_job_says() -> None:
    spec = _spec(pod(job(**PLACED), 3, 0, IMAGE))
    gang = {"matchLabels": labels.of_attempt("train", 3)}
    assert (spec["priorityClassName"], spec["runtimeClassName"]) == ("research", "nvidia")
    assert spec["topologySpreadConstraints"] == [
        {"topologyKey": "rack", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": gang}
    ]
    assert spec["affinity"] == {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {
                        "matchExpressions": [
                            {"key": "gpu.vendor/memory", "operator": "Gt", "values": ["39000"]}
                        ]
                    }
                ]
            },
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 7,
                    "preference": {
                        "matchExpressions": [{"key": "pool", "operator": "NotIn", "values": ["spot"]}]
                    },
                }
            ],
        },
        "podAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "topology.kubernetes.io/zone", "labelSelector": gang}
            ]
        },
    }


def test_a_spread_can_be_left_to_the_scheduler_and_being_together_only_preferred() -> None:
    given = job(topologySpread=[], colocation={"topologyKey": "rack", "required": False})
    spec = _spec(pod(given, 0, 0, IMAGE))
    assert "topologySpreadConstraints" not in spec
    (preference,) = spec["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preference["weight"] == 100
    assert preference["podAffinityTerm"]["topologyKey"] == "rack"


def test_kueue_knows_a_gang_by_its_pods() -> None:
    given = job(runPolicy=scheduled({"kueue": {"queue": "vision", "workloadPriorityClass": "urgent"}}))
    manifests: list[dict[str, Any]] = [pod(given, 4, index, IMAGE) for index in (0, 1)]
    for manifest in manifests:
        tags = manifest["metadata"]["labels"]
        assert {name: tags[name] for name in tags if name.startswith("kueue")} == {
            "kueue.x-k8s.io/queue-name": "vision",
            "kueue.x-k8s.io/pod-group-name": "train-4",
            "kueue.x-k8s.io/priority-class": "urgent",
        }
        assert manifest["metadata"]["annotations"] == {
            "kueue.x-k8s.io/pod-group-total-count": "2",
            "kueue.x-k8s.io/retriable-in-group": "false",
        }
        assert "schedulerName" not in _spec(manifest)
    assert pod_group(given) is None


EIGHT = {"requests": {"cpu": "500m"}, "limits": {"cpu": "4", "memory": "1.5Gi", "nvidia.com/gpu": 8}}
TOTAL = {"cpu": "1", "memory": "3221225472", "nvidia.com/gpu": "16"}


def test_volcano_is_told_how_many_pods_belong_together() -> None:
    given = job(
        resourcesPerNode=EIGHT,
        priorityClassName="research",
        runPolicy=scheduled({"volcano": {"schedulerName": "volcano", "queue": "vision"}}),
    )
    group: Any = pod_group(given)
    assert (group["apiVersion"], group["kind"]) == ("scheduling.volcano.sh/v1beta1", "PodGroup")
    assert group["metadata"]["name"] == "train"
    assert group["spec"] == {
        "minMember": 2,
        "minResources": TOTAL,
        "queue": "vision",
        "priorityClassName": "research",
    }
    manifest: Any = pod(given, 0, 1, IMAGE)
    assert manifest["metadata"]["annotations"] == {"scheduling.k8s.io/group-name": "train"}
    assert _spec(manifest)["schedulerName"] == "volcano"


def test_coscheduling_is_told_how_many_pods_belong_together() -> None:
    policy = {"coscheduling": {"schedulerName": "gang", "scheduleTimeoutSeconds": 30}}
    given = job(resourcesPerNode=EIGHT, runPolicy=scheduled(policy))
    group: Any = pod_group(given)
    assert (group["apiVersion"], group["kind"]) == ("scheduling.x-k8s.io/v1alpha1", "PodGroup")
    assert group["spec"] == {"minMember": 2, "minResources": TOTAL, "scheduleTimeoutSeconds": 30}
    manifest: Any = pod(given, 0, 1, IMAGE)
    assert manifest["metadata"]["labels"]["scheduling.x-k8s.io/pod-group"] == "train"
    assert _spec(manifest)["schedulerName"] == "gang"


@settings(max_examples=30, deadline=None)
@given(JOBS)
def test_every_other_child_is_valid(any_job: TrainingJob) -> None:
    rendered: list[Any] = [service(any_job), configmap(any_job)]
    claim: Any = output_claim(any_job)
    for manifest in [*rendered, *([claim] if claim else [])]:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        new = any_job.spec.output.new_claim
        kept = manifest["kind"] == "PersistentVolumeClaim" and new is not None and new.retained
        owners = manifest["metadata"].get("ownerReferences", [])
        assert [owner["uid"] for owner in owners] == ([] if kept else [any_job.uid])
    document = json.loads(rendered[1]["data"]["job.yaml"])
    whole = dict(any_job.spec.document)
    assert {**document["spec"], "runPolicy": whole["runPolicy"]} == whole
    assert "runPolicy" not in document["spec"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "a-0", "a-0-0", "a-1", "a-10"]), st.integers(0, 11), st.integers(0, 11)
        ),
        unique=True,
        min_size=2,
        max_size=50,
    )
)
def test_no_two_pods_share_a_name(pods: list[tuple[str, int, int]]) -> None:
    assert len({names.pod_name(*pod) for pod in pods}) == len(pods)


def test_addresses_sort_as_their_nodes() -> None:
    hosts = [names.host("train", index) for index in range(MAX_NODES)]
    assert hosts == sorted(hosts)


@pytest.mark.parametrize(
    ("requests", "limits", "processes", "threads"),
    [
        ({}, {}, 1, None),
        ({"cpu": "1"}, {}, 1, "1"),
        ({"cpu": "500m"}, {}, 2, "1"),
        ({"cpu": "4"}, {"cpu": "16"}, 4, "4"),
    ],
)
def test_threads_are_the_job_s_share_of_the_node(
    requests: dict[str, str], limits: dict[str, str], processes: int, threads: str | None
) -> None:
    given = job(numProcPerNode=processes, resourcesPerNode={"requests": requests, "limits": limits})
    assert _variables(pod(given, 0, 0, IMAGE)).get("OMP_NUM_THREADS") == threads


def test_a_user_s_threads_go_before_the_default() -> None:
    given = job(resourcesPerNode={"limits": {"cpu": "8"}}, env=[{"name": "OMP_NUM_THREADS", "value": "3"}])
    assert _variables(pod(given, 0, 0, IMAGE))["OMP_NUM_THREADS"] == "3"


def _variables(manifest: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry.get("value") for entry in _spec(manifest)["containers"][0]["env"]}
