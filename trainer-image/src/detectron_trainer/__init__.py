"""Runs a DetectronTrainingJob with Detectron2: the worker under torchrun and the local command line.

`PrometheusWriter` stands alone: any Detectron2 script can append it to its writers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detectron_trainer.metrics.prometheus_writer import PrometheusWriter

__all__ = ["PrometheusWriter"]


def __getattr__(name: str) -> object:
    # On first use: the writer brings torch and detectron2, which the command line's help does without.
    if name == "PrometheusWriter":
        from detectron_trainer.metrics.prometheus_writer import PrometheusWriter

        return PrometheusWriter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
