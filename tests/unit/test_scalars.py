"""What Detectron2's scalar names mean."""

import pytest

from detectron_trainer.metrics.scalars import AveragePrecision, flatten, is_component_loss


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("bbox/AP", AveragePrecision(dataset="", task="bbox")),
        ("segm/AP50", AveragePrecision(dataset="", task="segm", kind="AP50")),
        ("bbox/APs", AveragePrecision(dataset="", task="bbox", kind="APs")),
        (
            "digits_validation/keypoints/APl",
            AveragePrecision(dataset="digits_validation", task="keypoints", kind="APl"),
        ),
        ("a/b/segm/AP75", AveragePrecision(dataset="a/b", task="segm", kind="AP75")),
        ("bbox/AP-traffic light", AveragePrecision(dataset="", task="bbox", category="traffic light")),
        ("d/bbox/AP-tv/monitor", AveragePrecision(dataset="d", task="bbox", category="tv/monitor")),
    ],
)
def test_average_precision_is_told_by_its_name(name: str, meaning: AveragePrecision) -> None:
    assert AveragePrecision.parse(name) == meaning


@pytest.mark.parametrize(
    "name", ["total_loss", "AP", "bbox/APPLE", "panoptic_seg/PQ", "bbox/AR", "lr", "", "/AP"]
)
def test_other_scalars_are_no_average_precision(name: str) -> None:
    assert AveragePrecision.parse(name) is None


def test_component_losses_are_the_terms_of_the_total() -> None:
    names = [
        "total_loss",
        "loss_cls",
        "loss_sem_seg",
        "val_total_loss",
        "validation/loss_cls",
        "lr",
        "my_loss",
    ]

    assert [name for name in names if is_component_loss(name)] == ["loss_cls", "loss_sem_seg", "my_loss"]


def test_results_are_flattened_to_their_numbers() -> None:
    results = {"digits": {"bbox": {"AP": 50.0, "AP50": 80}, "note": "text"}}

    assert list(flatten(results)) == [(("digits", "bbox", "AP"), 50.0), (("digits", "bbox", "AP50"), 80.0)]
