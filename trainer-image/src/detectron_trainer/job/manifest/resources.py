"""`spec.resourcesPerNode`, and the training processes that follow from it, as the operator counts them."""

from __future__ import annotations

from pydantic import Field

from detectron_trainer.job.manifest.part import Part


class Resources(Part):
    requests: dict[str, int | str] = Field(default_factory=dict)
    limits: dict[str, int | str] = Field(default_factory=dict)

    @property
    def gpus(self) -> int:
        """CUDA devices in each pod: whole GPUs, or a slice of one."""
        return sum(int(count) for name, count in self.limits.items() if _is_gpu(name))


def _is_gpu(resource: str) -> bool:
    return resource.endswith(("/gpu", "/gpu.shared")) or resource.startswith("nvidia.com/mig-")
