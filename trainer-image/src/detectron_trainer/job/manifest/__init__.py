"""A DetectronTrainingJob as the trainer reads it: typed, with the API server's defaults, every problem named.

In a pod the API server has already judged the manifest; on a laptop this package stands in for it. The schema
is ``crds/detectrontrainingjobs.yaml``.
"""

from detectron_trainer.job.manifest.datasets import Dataset
from detectron_trainer.job.manifest.evaluation import EvaluationOptions
from detectron_trainer.job.manifest.metrics import Metrics
from detectron_trainer.job.manifest.reading import parse_job, read_job
from detectron_trainer.job.manifest.spec import Job
from detectron_trainer.job.manifest.training import Precision, Profile, TrainingOptions

__all__ = [
    "Dataset",
    "EvaluationOptions",
    "Job",
    "Metrics",
    "Precision",
    "Profile",
    "TrainingOptions",
    "parse_job",
    "read_job",
]
