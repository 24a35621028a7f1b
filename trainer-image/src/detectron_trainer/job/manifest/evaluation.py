"""`spec.evaluation`: what an evaluation does beyond Detectron2's own."""

from __future__ import annotations

from detectron_trainer.job.manifest.part import Part


class EvaluationOptions(Part):
    only: bool = False
    loss: bool = False
