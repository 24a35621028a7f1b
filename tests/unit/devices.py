"""What devices make of a pod: the operator and the trainer count processes, and must come to the same."""

from __future__ import annotations

Limits = dict[str, object]

PROCESSES: list[tuple[Limits, int | None, int]] = [
    ({}, None, 1),
    ({}, 3, 3),
    ({"cpu": "8"}, None, 1),
    ({"nvidia.com/gpu": 8}, None, 8),
    ({"nvidia.com/gpu": "8"}, 8, 8),
    ({"nvidia.com/gpu": "0"}, None, 1),
    ({"amd.com/gpu": "2"}, None, 2),
    ({"nvidia.com/mig-1g.5gb": "1"}, None, 1),
    ({"nvidia.com/mig-3g.20gb.shared": 1}, None, 1),
    ({"nvidia.com/gpu.shared": "1"}, None, 1),
    ({"rdma/hca": 4, "nvidia.com/gpu": 2}, None, 2),
    ({"gpu.intel.com/xe": "4"}, 4, 4),
    ({"aws.amazon.com/neuroncore": 2}, 2, 2),
    ({"nvidia.com/a100": 8}, 8, 8),
    ({"nvidia.com/H100": "2"}, 1, 1),
    ({"vendor.example/npu": 4}, 4, 4),
    ({"vendor.example/npu": 0}, None, 1),
    ({"vendor.example/npu": 1, "nvidia.com/gpu": 4}, None, 4),
    ({"nvidia.com/gpumem": 3000, "nvidia.com/gpu": 1}, None, 1),
    ({"rdma/hca_shared_devices_a": 1}, None, 1),
    ({"nvidia.com/mlnxnics": 1}, None, 1),
    ({"nvidia.com/hostdev": 1}, None, 1),
    ({"openshift.io/mlx-rdma-vf": 2}, None, 1),
    ({"intel.com/intel_sriov_netdevice": 1}, None, 1),
    ({"vpc.amazonaws.com/efa": 4}, None, 1),
    ({"k8s.v1.cni.cncf.io/ib0": 1}, None, 1),
    ({"smarter-devices/fuse": 1}, None, 1),
    ({"devices.kubevirt.io/kvm": 1}, None, 1),
    ({"hugepages-2Mi": "64", "ephemeral-storage": "1"}, None, 1),
    ({"kubernetes.io/batch-cpu": 4}, None, 1),
    ({"licences.example/seats": 100}, None, 1),
]
"""Limits, numProcPerNode, and the processes that both say."""

REFUSED: list[tuple[Limits, int | None, str, str]] = [
    ({"nvidia.com/gpu": "4"}, 2, "spec.numProcPerNode", "asks for 4 GPUs"),
    ({"nvidia.com/mig-1g.5gb": "1"}, 2, "spec.numProcPerNode", "asks for 1 GPUs"),
    (
        {"nvidia.com/gpu": "500m"},
        None,
        "spec.resourcesPerNode.limits[nvidia.com/gpu]",
        "must be a whole number",
    ),
    (
        {"nvidia.com/gpu": "1e99"},
        None,
        "spec.resourcesPerNode.limits[nvidia.com/gpu]",
        "must be a whole number",
    ),
    (
        {"nvidia.com/mig-1g.5gb": "2"},
        None,
        "spec.resourcesPerNode.limits[nvidia.com/mig-1g.5gb]",
        "gives a pod 2 devices, of which CUDA shows a process one",
    ),
    (
        {"nvidia.com/gpu": "1", "nvidia.com/mig-1g.5gb": "1"},
        None,
        "spec.resourcesPerNode.limits[nvidia.com/mig-1g.5gb]",
        "gives a pod 2 devices",
    ),
    (
        {"gpu.intel.com/i915": "1"},
        None,
        "spec.resourcesPerNode.limits[gpu.intel.com/i915]",
        "is no CUDA device",
    ),
    (
        {"aws.amazon.com/neuron": "1"},
        None,
        "spec.resourcesPerNode.limits[aws.amazon.com/neuron]",
        "by numProcPerNode",
    ),
    (
        {"nvidia.com/a100": "8"},
        None,
        "spec.resourcesPerNode.limits[nvidia.com/a100]",
        "write numProcPerNode: 8, one process a GPU",
    ),
    (
        {"cpu": 8, "nvidia.com/H100": 1},
        None,
        "spec.resourcesPerNode.limits[nvidia.com/H100]",
        "is no name by which GPUs are counted",
    ),
    (
        {"rdma/hca": 1, "vendor.example/npu": 4},
        None,
        "spec.resourcesPerNode.limits[vendor.example/npu]",
        "write numProcPerNode: 4",
    ),
    (
        {"nvidia.com/gpu": 1, "habana.ai/gaudi": 1},
        None,
        "spec.resourcesPerNode.limits[habana.ai/gaudi]",
        "is no CUDA device",
    ),
]
"""Limits and numProcPerNode that do not go together, the field at fault, and what is said about it."""
