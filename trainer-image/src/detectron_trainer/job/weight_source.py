"""Where weights come from: a path, a URL, or a name that Detectron2 gives to one of its own."""

from __future__ import annotations

import difflib

import detectron_trainer.detectron2_compat  # noqa: F401  # isort: skip

from detectron2 import model_zoo
from detectron2.checkpoint.catalog import ModelCatalog
from detectron2.model_zoo.model_zoo import _ModelZooUrls

HOSTED = "https://dl.fbaipublicfiles.com/detectron2/"
"""What Detectron2's own ``detectron2://`` stands for."""


def resolve(source: str) -> str:
    """`source` as an absolute path or an http(s) URL; empty, which stands for random weights, stays so.

    Beside these two it may be ``detectron2://...``, ``catalog://...``, or a config of the model zoo, whose
    trained model it then means.

    Raises:
        ValueError: it is none of them; says what would be.
    """
    scheme, separator, rest = source.partition("://")
    if not source or source.startswith("/") or (separator and scheme in ("http", "https")):
        return source
    if separator and scheme == "detectron2":
        return HOSTED + rest
    try:
        if separator and scheme == "catalog":
            return str(ModelCatalog.get(rest))
        if not separator:
            return str(model_zoo.get_checkpoint_url(source))
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"{source} names no weights of Detectron2's{_hint(source)}") from error
    raise ValueError(f"{source} is no path, no http(s) URL, and no name of Detectron2's own")


def _hint(name: str) -> str:
    known = [f"{config}.yaml" for config in _ModelZooUrls.CONFIG_PATH_TO_URL_SUFFIX]
    closest = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {closest[0]}?" if closest else "; a file is named by its absolute path"
