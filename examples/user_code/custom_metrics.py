"""Scalars and writers of your own, which reach Prometheus, metrics.json and TensorBoard like Detectron2's.

A model puts a scalar where it has the value; a writer reads what is there, and may put what it makes of it.
"""

from __future__ import annotations

from typing import Any

from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN
from detectron2.utils.events import EventWriter, get_event_storage


@META_ARCH_REGISTRY.register()
class CountingRCNN(GeneralizedRCNN):  # type: ignore[misc]  # detectron2 ships no types
    """`GeneralizedRCNN` that tells how many digits it has been shown in a batch."""

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        if self.training:
            shown = sum(len(inputs["instances"]) for inputs in batched_inputs)
            get_event_storage().put_scalar("digits/shown", shown, smoothing_hint=False)
        return super().forward(batched_inputs)


class ShareOfMask(EventWriter):  # type: ignore[misc]
    """Puts how much of the total loss is the masks', in 0..1."""

    def __init__(self, cfg: CfgNode) -> None:
        assert cfg.MODEL.MASK_ON, "there is no mask loss to take a share of"

    def write(self) -> None:
        storage = get_event_storage()
        latest = storage.latest()
        if "loss_mask" in latest:
            share = latest["loss_mask"][0] / latest["total_loss"][0]
            storage.put_scalar("digits/share_of_mask", share, smoothing_hint=False)
