"""An extension builder that compiles nothing, and copies what setup.py would only link: the zoo's configs."""

import shutil
from pathlib import Path
from typing import Any

from setuptools import Extension
from setuptools.command.build_ext import build_ext

CUDA_HOME = ROCM_HOME = None

NO_EXTENSION = """\
def get_compiler_version():
    return "not built"


get_cuda_version = get_compiler_version


def has_cuda():
    return False
"""


def CppExtension(name: str, sources: list[str], *args: Any, **options: Any) -> Extension:  # noqa: N802
    return Extension(name, [])


CUDAExtension = CppExtension


class BuildExtension(build_ext):
    def run(self) -> None:
        package = Path(self.build_lib) / "detectron2"
        shutil.copytree("detectron2/model_zoo/configs", package / "model_zoo" / "configs", dirs_exist_ok=True)
        (package / "_C.py").write_text(NO_EXTENSION)

    def get_outputs(self) -> list[str]:
        return []
