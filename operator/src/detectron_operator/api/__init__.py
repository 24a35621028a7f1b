"""The custom resource as the operator sees it: raw objects become frozen dataclasses here and nowhere else.

The API server applies the CRD's defaults and bounds. Checked again is only what sizes or names children,
because an object may have been stored under an older, laxer schema, and what no schema can say.
"""

from detectron_operator.api.job import SpecError, TrainingJob, parse
from detectron_operator.api.spec import MAX_NODES, Spec

__all__ = ["MAX_NODES", "Spec", "SpecError", "TrainingJob", "parse"]
