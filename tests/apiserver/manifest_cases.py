"""Manifests that the API server takes, and those that it refuses, each with the words a user must read."""

import copy
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]

GOOD: Document = {
    "apiVersion": "detectron.dev/v1alpha1",
    "kind": "DetectronTrainingJob",
    "metadata": {"name": "balloons", "namespace": "default"},
    "spec": {
        "config": {"base": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml"},
        "datasets": [
            {"name": "train", "split": "train", "annotations": "/data/t.json", "images": "/data/t"},
            {"name": "val", "split": "test", "annotations": "/data/v.json", "images": "/data/v"},
        ],
        "output": {"claimName": "models"},
    },
}


@dataclass(frozen=True)
class Case:
    """GOOD with some fields set (dotted path → value; REMOVED takes the field away)."""

    name: str
    changes: dict[str, Any]
    expected: tuple[str, ...] = field(default=())

    def document(self) -> Document:
        document = copy.deepcopy(GOOD)
        for path, value in self.changes.items():
            *parents, last = path.split("/")
            node: Any = document
            for parent in parents:
                node = node[int(parent)] if isinstance(node, list) else node.setdefault(parent, {})
            if value is REMOVED:
                del node[last]
            elif isinstance(node, list):
                node[int(last)] = value
            else:
                node[last] = value
        return document


REMOVED = object()

VARIANTS = [
    Case(
        "every field",
        {
            "spec/image": "registry.example/trainer:1",
            "spec/imagePullPolicy": "Never",
            "spec/imagePullSecrets": ["pull"],
            "spec/numNodes": 4,
            "spec/elasticPolicy": {"maxRestarts": 5},
            "spec/numProcPerNode": 8,
            "spec/resourcesPerNode": {
                "requests": {"cpu": "4"},
                "limits": {"memory": "16Gi", "nvidia.com/gpu": 8},
            },
            "spec/config/inline": "SOLVER:\n  MAX_ITER: 10\n",
            "spec/config/overrides": ["SOLVER.BASE_LR 0.01", "DATALOADER.NUM_WORKERS 2"],
            "spec/weights": {"source": "detectron2://ImageNetPretrained/MSRA/R-50.pkl", "sha256": "0" * 64},
            "spec/datasets/0/keypoints": {"names": ["a", "b"], "sigmas": [0.1, 0.1], "flipMap": [["a", "b"]]},
            "spec/plugins": ["my_pkg.datasets"],
            "spec/volumes": [
                {"name": "data", "claimName": "data", "mountPath": "/data"},
                {
                    "name": "cache",
                    "claimName": "cache",
                    "mountPath": "/cache",
                    "subPath": "d2",
                    "readOnly": False,
                },
            ],
            "spec/output/subPath": "runs/balloons",
            "spec/checkpoint": {
                "keep": 5,
                "best": {"metric": "val/bbox/AP50"},
                "asynchronous": True,
                "gracePeriodSeconds": 60,
            },
            "spec/evaluation": {"loss": True},
            "spec/mapper": "my_pkg.data:Mapper",
            "spec/metrics": {
                "period": 5,
                "scalars": ["roi_head/*"],
                "categories": 80,
                "writers": ["my_pkg.log:Writer"],
                "tls": {"secretName": "metrics-tls"},
                "wandb": {"project": "digits", "entity": "us", "mode": "offline"},
                "mlflow": {"trackingUri": "https://mlflow.example", "experiment": "digits"},
            },
            "spec/training": {
                "maxUnreadableImages": 10,
                "gradientAccumulation": 4,
                "maxGradientNorm": 35,
                "precision": "bfloat16",
                "channelsLast": True,
                "foldFrozenBatchNorm": True,
                "compileBackbone": True,
                "profile": {"startIteration": 100, "iterations": 3},
                "ema": {"decay": 0.999},
                "earlyStopping": {"patience": 3},
                "nonFiniteLoss": {"rollbacks": 2, "learningRateFactor": 0.1},
            },
            "spec/env": [{"name": "NCCL_DEBUG", "value": "INFO"}],
            "spec/nodeSelector": {"gpu": "h100"},
            "spec/tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "spec/runPolicy": {
                "suspend": True,
                "backoffLimit": 0,
                "maxBackoffSeconds": 60,
                "activeDeadlineSeconds": 86400,
                "startupDeadlineSeconds": 600,
                "progressDeadlineSeconds": 300,
                "ttlSecondsAfterFinished": 0,
                "cleanPodPolicy": "All",
                "failurePolicy": {
                    "rules": [
                        {"action": "Fail", "onExitCodes": [139], "onSignals": ["SIGSEGV"]},
                        {"action": "Restart", "onReasons": ["OutOfMemory"]},
                        {"action": "RestartWithoutCounting", "onPodConditions": ["DisruptionTarget"]},
                    ]
                },
            },
            "spec/nodeAffinity": {
                "required": [{"key": "gpu.vendor/memory", "operator": "Gt", "values": ["39000"]}],
                "preferred": [{"key": "pool", "operator": "NotIn", "values": ["spot"], "weight": 7}],
            },
            "spec/topologySpread": [
                {"topologyKey": "rack", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}
            ],
            "spec/colocation": {"topologyKey": "topology.kubernetes.io/zone", "required": False},
            "spec/priorityClassName": "research",
            "spec/runtimeClassName": "nvidia",
            "spec/serviceAccountName": "robot",
            "spec/preflight": {
                "enabled": True,
                "timeoutSeconds": 60,
                "resources": {"requests": {"cpu": "2"}, "limits": {"memory": "8Gi"}},
            },
            "spec/runPolicy/schedulingPolicy": {
                "kueue": {"queue": "vision", "workloadPriorityClass": "urgent"}
            },
        },
    ),
    Case(
        "a claim of its own",
        {"spec/output": {"claim": {"size": "10Gi", "storageClassName": "fast"}, "subPath": "a/b"}},
    ),
    Case(
        "what the cluster keeps",
        {
            "spec/env": [
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
                {"name": "PYTHONPATH", "value": "/data/modules"},
            ],
            "spec/envFrom": [{"secretRef": {"name": "s3"}}, {"configMapRef": {"name": "p"}, "prefix": "P_"}],
            "spec/code": [{"configMapName": "modules"}],
        },
    ),
    Case("volcano", {"spec/runPolicy": {"schedulingPolicy": {"volcano": {}}}}),
    Case("coscheduling", {"spec/runPolicy": {"schedulingPolicy": {"coscheduling": {}}}}),
    Case("spread as the scheduler likes", {"spec/topologySpread": []}),
    Case("datasets of a plugin", {"spec/datasets": REMOVED}),
    Case("elastic", {"spec/numNodes": 2, "spec/elasticPolicy": {"minNodes": 1, "maxNodes": 4}}),
    Case("own trainer", {"spec/trainer": "my_pkg.loops:main"}),
    Case("ephemeral output", {"spec/output": {"ephemeral": True}}),
    Case("evaluation only", {"spec/datasets/0/split": "test", "spec/evaluation": {"only": True}}),
    Case("weights from scratch", {"spec/weights": {"random": True}}),
    Case("longest name", {"metadata/name": "a" * 50}),
]

BAD = [
    Case("unknown field", {"spec/numNode": 2}, ("unknown field", "spec.numNode")),
    Case("unknown nested field", {"spec/config/override": []}, ("unknown field", "spec.config.override")),
    Case("no spec", {"spec": REMOVED}, ("spec", "Required value")),
    Case("no config", {"spec/config": REMOVED}, ("spec.config", "Required value")),
    Case("no output", {"spec/output": REMOVED}, ("spec.output", "Required value")),
    Case("number as text", {"spec/numNodes": "two"}, ("spec.numNodes", "integer")),
    Case("no nodes", {"spec/numNodes": 0}, ("spec.numNodes", "greater than or equal to 1")),
    Case("too many nodes", {"spec/numNodes": 513}, ("spec.numNodes", "less than or equal to 512")),
    Case(
        "too many processes", {"spec/numProcPerNode": 65}, ("spec.numProcPerNode", "less than or equal to 64")
    ),
    Case(
        "endless restarts", {"spec/elasticPolicy": {"maxRestarts": 101}}, ("spec.elasticPolicy.maxRestarts",)
    ),
    Case(
        "progress in no time",
        {"spec/runPolicy/progressDeadlineSeconds": 9},
        ("spec.runPolicy.progressDeadlineSeconds", "must be 0, which turns it off, or at least 10"),
    ),
    Case("no time at all", {"spec/runPolicy/activeDeadlineSeconds": 0}, ("activeDeadlineSeconds",)),
    Case("start in no time", {"spec/runPolicy/startupDeadlineSeconds": 0}, ("startupDeadlineSeconds",)),
    Case("dead before its end", {"spec/runPolicy/ttlSecondsAfterFinished": -1}, ("ttlSecondsAfterFinished",)),
    Case(
        "pods that run on after the end",
        {"spec/runPolicy/cleanPodPolicy": "None"},
        ("spec.runPolicy.cleanPodPolicy", '"Running", "All"'),
    ),
    Case(
        "elastic without a most",
        {"spec/elasticPolicy": {"minNodes": 1}},
        ("spec.elasticPolicy", "needs both of minNodes and maxNodes"),
    ),
    Case(
        "more nodes than the most",
        {"spec/numNodes": 5, "spec/elasticPolicy": {"minNodes": 1, "maxNodes": 4}},
        ("spec", "numNodes must lie within elasticPolicy"),
    ),
    Case(
        "elastic under a gang scheduler",
        {
            "spec/elasticPolicy": {"minNodes": 1, "maxNodes": 4},
            "spec/runPolicy/schedulingPolicy": {"volcano": {}},
        },
        ("spec", "does not go with runPolicy.schedulingPolicy"),
    ),
    Case("negative backoff", {"spec/runPolicy/backoffLimit": -1}, ("spec.runPolicy.backoffLimit",)),
    Case("endless pause", {"spec/runPolicy/maxBackoffSeconds": 3601}, ("spec.runPolicy.maxBackoffSeconds",)),
    Case(
        "rule without a match",
        {"spec/runPolicy/failurePolicy": {"rules": [{"action": "Fail"}]}},
        ("spec.runPolicy.failurePolicy.rules[0]", "needs one of onReasons"),
    ),
    Case(
        "rule without an action",
        {"spec/runPolicy/failurePolicy": {"rules": [{"onReasons": ["OOMKilled"]}]}},
        ("spec.runPolicy.failurePolicy.rules[0].action", "Required value"),
    ),
    Case(
        "signal by number",
        {"spec/runPolicy/failurePolicy": {"rules": [{"action": "Fail", "onSignals": [9]}]}},
        ("spec.runPolicy.failurePolicy.rules[0].onSignals[0]",),
    ),
    Case("best by AP of what", {"spec/checkpoint/best": {"metric": "AP"}}, ("spec.checkpoint.best.metric",)),
    Case(
        "fewer than no bad images",
        {"spec/training": {"maxUnreadableImages": -1}},
        ("spec.training.maxUnreadableImages",),
    ),
    Case(
        "a rate of nothing",
        {"spec/training": {"nonFiniteLoss": {"rollbacks": 1, "learningRateFactor": 0}}},
        ("spec.training.nonFiniteLoss.learningRateFactor", "greater than 0"),
    ),
    Case(
        "accumulation of nothing",
        {"spec/training": {"gradientAccumulation": 0}},
        ("spec.training.gradientAccumulation",),
    ),
    Case(
        "gradients of no norm",
        {"spec/training": {"maxGradientNorm": 0}},
        ("spec.training.maxGradientNorm",),
    ),
    Case(
        "a precision unheard of",
        {"spec/training": {"precision": "fp8"}},
        ("spec.training.precision", '"bfloat16"'),
    ),
    Case(
        "an average that stays",
        {"spec/training": {"ema": {"decay": 1}}},
        ("spec.training.ema.decay",),
    ),
    Case(
        "no patience",
        {"spec/checkpoint/best": {}, "spec/training": {"earlyStopping": {"patience": 0}}},
        ("spec.training.earlyStopping.patience",),
    ),
    Case(
        "early by what",
        {"spec/training": {"earlyStopping": {"patience": 2}}},
        ("spec", "earlyStopping needs spec.checkpoint.best"),
    ),
    Case("a layout by name", {"spec/training": {"channelsLast": "yes"}}, ("spec.training.channelsLast",)),
    Case(
        "evaluation of nothing",
        {"spec/datasets/1/split": "train", "spec/evaluation": {"only": True}},
        ("spec", "at least one dataset with split test"),
    ),
    Case(
        "evaluation of an own trainer",
        {"spec/trainer": "my_pkg.loops:main", "spec/evaluation": {"loss": True}},
        ("spec", "spec.evaluation is of our own loop"),
    ),
    Case("weights of nowhere", {"spec/weights": {}}, ("spec.weights", "exactly one of source")),
    Case(
        "the hash of random weights",
        {"spec/weights": {"random": True, "sha256": "0" * 64}},
        ("spec.weights", "sha256 goes with source"),
    ),
    Case(
        "a hash of another kind",
        {"spec/weights": {"source": "/w.pth", "sha256": "d41d8cd98f00b204e9800998ecf8427e"}},
        ("spec.weights.sha256",),
    ),
    Case(
        "levers that are no switches",
        {"spec/training": {"foldFrozenBatchNorm": 1, "compileBackbone": "max-autotune"}},
        ("spec.training.foldFrozenBatchNorm", "spec.training.compileBackbone"),
    ),
    Case(
        "a trace of everything",
        {"spec/training": {"profile": {"startIteration": -1, "iterations": 101}}},
        ("spec.training.profile.startIteration", "spec.training.profile.iterations"),
    ),
    Case("saves by a name", {"spec/checkpoint/asynchronous": "thread"}, ("spec.checkpoint.asynchronous",)),
    Case("keep nothing", {"spec/checkpoint/keep": 0}, ("spec.checkpoint.keep",)),
    Case(
        "grace too short", {"spec/checkpoint/gracePeriodSeconds": 1}, ("spec.checkpoint.gracePeriodSeconds",)
    ),
    Case(
        "bad quantity",
        {"spec/resourcesPerNode/limits": {"memory": "much"}},
        ("spec.resourcesPerNode.limits",),
    ),
    Case("empty base", {"spec/config/base": ""}, ("spec.config.base",)),
    Case(
        "override without value",
        {"spec/config/overrides": ["SOLVER.MAX_ITER"]},
        ("spec.config.overrides[0]",),
    ),
    Case("no datasets", {"spec/datasets": []}, ("spec.datasets",)),
    Case(
        "no dataset to train on",
        {"spec/datasets/0/split": "test"},
        ("spec", "spec.datasets needs at least one dataset with split train"),
    ),
    Case(
        "unknown split", {"spec/datasets/0/split": "training"}, ("spec.datasets[0].split", '"train", "test"')
    ),
    Case(
        "relative annotations", {"spec/datasets/0/annotations": "t.json"}, ("spec.datasets[0].annotations",)
    ),
    Case("dataset twice", {"spec/datasets/1/name": "train"}, ("spec.datasets[1]", "Duplicate value")),
    Case(
        "sigmas for other keypoints",
        {"spec/datasets/0/keypoints": {"names": ["a", "b"], "sigmas": [0.1]}},
        ("spec.datasets[0].keypoints", "equally long"),
    ),
    Case(
        "own trainer with what ours does",
        {"spec/trainer": "my_pkg.loops:main", "spec/checkpoint/best": {}},
        ("spec", "spec.checkpoint.best is of our own loop"),
    ),
    Case(
        "own trainer with our saves",
        {"spec/trainer": "my_pkg.loops:main", "spec/checkpoint/asynchronous": True},
        ("spec", "spec.checkpoint.asynchronous is of our own loop"),
    ),
    Case(
        "own trainer with a mapper",
        {"spec/trainer": "my_pkg.loops:main", "spec/mapper": "my_pkg.data:Mapper"},
        ("spec", "spec.mapper is of our own loop"),
    ),
    Case("too many categories", {"spec/metrics": {"categories": 501}}, ("spec.metrics.categories",)),
    Case("a tracker without a project", {"spec/metrics": {"wandb": {}}}, ("spec.metrics.wandb.project",)),
    Case(
        "a tracker that is no server",
        {"spec/metrics": {"mlflow": {"trackingUri": "/mlruns", "experiment": "e"}}},
        ("spec.metrics.mlflow.trackingUri",),
    ),
    Case("TLS without a secret", {"spec/metrics": {"tls": {}}}, ("spec.metrics.tls.secretName",)),
    Case(
        "TLS of another namespace's secret",
        {"spec/metrics": {"tls": {"secretName": "a/b"}}},
        ("spec.metrics.tls.secretName",),
    ),
    Case("writer without a name", {"spec/metrics": {"writers": ["w"]}}, ("spec.metrics.writers[0]",)),
    Case("trainer without a name", {"spec/trainer": "my_pkg.loops"}, ("spec.trainer",)),
    Case("plugin path", {"spec/plugins": ["my/plugin.py"]}, ("spec.plugins[0]",)),
    Case(
        "output twice",
        {"spec/output/ephemeral": True},
        ("spec.output", "exactly one of claimName (an existing claim), claim (a new one)"),
    ),
    Case(
        "output in two claims",
        {"spec/output/claim": {"size": "1Gi"}},
        ("spec.output", "exactly one of claimName (an existing claim), claim (a new one)"),
    ),
    Case(
        "output nowhere",
        {"spec/output": {}},
        ("spec.output", "exactly one of claimName (an existing claim), claim (a new one)"),
    ),
    Case("claim of no size", {"spec/output": {"claim": {}}}, ("spec.output.claim.size", "Required value")),
    Case("claim of less", {"spec/output": {"claim": {"size": "-1Gi"}}}, ("spec.output.claim.size",)),
    Case(
        "claim for readers",
        {"spec/output": {"claim": {"size": "1Gi", "accessModes": ["ReadOnlyMany"]}}},
        ("spec.output.claim.accessModes[0]", '"ReadWriteOnce"'),
    ),
    Case(
        "folder of no claim",
        {"spec/output": {"ephemeral": True, "subPath": "a"}},
        ("spec.output", "subPath goes with claimName or claim"),
    ),
    Case(
        "variable twice told",
        {"spec/env": [{"name": "A", "value": "1", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
        ("spec.env[0]", "exactly one of value and valueFrom"),
    ),
    Case(
        "variable from two places",
        {
            "spec/env": [
                {
                    "name": "A",
                    "valueFrom": {
                        "secretKeyRef": {"name": "s", "key": "k"},
                        "configMapKeyRef": {"name": "s", "key": "k"},
                    },
                }
            ]
        },
        ("spec.env[0].valueFrom", "exactly one of secretKeyRef and configMapKeyRef"),
    ),
    Case(
        "a secret path",
        {"spec/env": [{"name": "PYTHONPATH", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
        ("spec.env[0]", "PYTHONPATH needs a value"),
    ),
    Case(
        "Secret of another namespace",
        {"spec/envFrom": [{"secretRef": {"name": "other/s"}}]},
        ("spec.envFrom[0].secretRef.name",),
    ),
    Case("variables of nothing", {"spec/envFrom": [{"prefix": "A_"}]}, ("spec.envFrom[0]", "exactly one of")),
    Case(
        "code twice",
        {"spec/code": [{"configMapName": "a"}, {"configMapName": "a"}]},
        ("spec.code[1]", "Duplicate value"),
    ),
    Case(
        "volume over the code",
        {"spec/volumes": [{"name": "v", "claimName": "v", "mountPath": "/opt/detectron"}]},
        ("spec.volumes[0].mountPath", "which the operator mounts itself"),
    ),
    Case(
        "output escapes",
        {"spec/output/subPath": "../other"},
        ("spec.output.subPath", "must not contain '..'"),
    ),
    Case(
        "volume over the output",
        {"spec/volumes": [{"name": "v", "claimName": "v", "mountPath": "/output/x"}]},
        ("spec.volumes[0].mountPath", "which the operator mounts itself"),
    ),
    Case(
        "two volumes in one place",
        {
            "spec/volumes": [
                {"name": "v", "claimName": "v", "mountPath": "/v"},
                {"name": "w", "claimName": "w", "mountPath": "/v"},
            ]
        },
        ("spec", "two volumes at one mountPath"),
    ),
    Case(
        "volume of another namespace",
        {"spec/volumes": [{"name": "v", "claimName": "other/v", "mountPath": "/v"}]},
        ("spec.volumes[0].claimName",),
    ),
    Case(
        "torchrun's environment",
        {"spec/env": [{"name": "PET_NNODES", "value": "9"}]},
        ("spec.env[0].name", "reserved for the rendezvous"),
    ),
    Case(
        "rendezvous environment",
        {"spec/env": [{"name": "MASTER_ADDR", "value": "x"}]},
        ("spec.env[0].name", "reserved for the rendezvous"),
    ),
    Case("environment as number", {"spec/env": [{"name": "A", "value": 1}]}, ("spec.env[0].value", "string")),
    Case(
        "two schedulers",
        {"spec/runPolicy": {"schedulingPolicy": {"kueue": {"queue": "a"}, "volcano": {}}}},
        ("spec.runPolicy.schedulingPolicy", "exactly one of kueue, volcano and coscheduling"),
    ),
    Case(
        "no queue",
        {"spec/runPolicy": {"schedulingPolicy": {"kueue": {}}}},
        ("spec.runPolicy.schedulingPolicy.kueue.queue", "Required value"),
    ),
    Case(
        "node rule without values",
        {"spec/nodeAffinity": {"required": [{"key": "pool", "operator": "In"}]}},
        ("spec.nodeAffinity.required[0]", "values go with operator In and NotIn"),
    ),
    Case(
        "node rule with idle values",
        {"spec/nodeAffinity": {"preferred": [{"key": "pool", "operator": "Exists", "values": ["a"]}]}},
        ("spec.nodeAffinity.preferred[0]", "Exists and DoesNotExist none"),
    ),
    Case(
        "more than a word",
        {"spec/nodeAffinity": {"required": [{"key": "memory", "operator": "Gt", "values": ["big"]}]}},
        ("spec.nodeAffinity.required[0]", "Gt and Lt take one, a whole number"),
    ),
    Case("affinity to nothing", {"spec/nodeAffinity": {}}, ("spec.nodeAffinity",)),
    Case(
        "spread over a sentence",
        {"spec/topologySpread": [{"topologyKey": "a b"}]},
        ("spec.topologySpread[0].topologyKey",),
    ),
    Case("skewed by nothing", {"spec/topologySpread": [{"topologyKey": "rack", "maxSkew": 0}]}, ("maxSkew",)),
    Case("together nowhere", {"spec/colocation": {}}, ("spec.colocation.topologyKey", "Required value")),
    Case("class with a slash", {"spec/priorityClassName": "a/b"}, ("spec.priorityClassName",)),
    Case(
        "account of another namespace",
        {"spec/serviceAccountName": "system:serviceaccount:other:robot"},
        ("spec.serviceAccountName", "should match"),
    ),
    Case("account without a name", {"spec/serviceAccountName": ""}, ("spec.serviceAccountName",)),
    Case("account of a long name", {"spec/serviceAccountName": "a" * 64}, ("spec.serviceAccountName", "63")),
    Case(
        "a check with a device",
        {"spec/preflight": {"resources": {"limits": {"nvidia.com/gpu": 1}}}},
        ("spec.preflight.resources.limits", "must name no device"),
    ),
    Case(
        "a check of no time",
        {"spec/preflight": {"timeoutSeconds": 0}},
        ("spec.preflight.timeoutSeconds", "greater than or equal to 1"),
    ),
    Case("name too long", {"metadata/name": "a" * 51}, ("metadata.name", "at most 50")),
    Case("name with a dot", {"metadata/name": "a.b"}, ("metadata.name", "at most 50")),
    Case("name starts with a digit", {"metadata/name": "1a"}, ("metadata.name", "at most 50")),
]
