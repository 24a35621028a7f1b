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
]
"""Limits and numProcPerNode that do not go together, the field at fault, and what is said about it."""
