"""Stands in for torch while Detectron2's source package is built, and only then.

Its setup.py imports torch to compile sources that the package does not contain.
"""

from torch.utils import cpp_extension as cpp_extension

__version__ = "2.0.0"


class version:  # noqa: N801
    hip = None


class cuda:  # noqa: N801
    @staticmethod
    def is_available() -> bool:
        return False
