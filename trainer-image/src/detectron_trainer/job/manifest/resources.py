"""`spec.resourcesPerNode`, and the training processes that follow from it, as the operator counts them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from detectron_trainer.job.manifest.part import Part


class Resources(Part):
    requests: dict[str, int | str] = Field(default_factory=dict)
    limits: dict[str, int | str] = Field(default_factory=dict)

    @property
    def gpus(self) -> int:
        """CUDA devices in each pod: whole GPUs, or a slice of one."""
        return sum(int(count) for name, count in self.limits.items() if _is_gpu(name))


class Preflight(Part):
    """The operator's business: a laptop has `detectron-trainer check`."""

    enabled: bool | None = None
    timeout_seconds: Annotated[int, Field(ge=1, le=86400)] = 1800
    resources: Resources = Resources(requests={"cpu": 1, "memory": "4Gi"}, limits={"memory": "4Gi"})


def _is_gpu(resource: str) -> bool:
    return resource.endswith(("/gpu", "/gpu.shared")) or resource.startswith("nvidia.com/mig-")
