"""What a forward pass in less than float32 must not make less exact."""

from __future__ import annotations

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2.layers import ROIAlign
from torch import Tensor, nn
from torchvision.ops import roi_align


class ExactROIAlign(ROIAlign):  # type: ignore[misc]  # detectron2 ships no types
    """Detectron2's `ROIAlign` with boxes of their own precision.

    Detectron2 rounds them to that of the features: bfloat16 knows each fourth pixel from the 512th on, each
    eighth from the 1024th on, and a box narrower than that is pooled to zeros. Nothing is gained by it, as
    torchvision computes in float32 under autocast anyway.
    """

    def forward(self, features: Tensor, boxes: Tensor) -> Tensor:
        pooled: Tensor = roi_align(
            features, boxes, self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned
        )
        return pooled


def keep_boxes_exact(model: nn.Module) -> None:
    """Make each `ROIAlign` of the model one whose boxes keep their precision under autocast, in place."""
    for module in model.modules():
        if type(module) is ROIAlign:
            module.__class__ = ExactROIAlign
