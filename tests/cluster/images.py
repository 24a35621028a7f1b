"""Container images built on this machine, each as a docker-archive in the cache that nodes can import."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.cluster import bases, buildah, cache
from tests.cluster.command import run
from tests.cluster.console import say
from tests.cluster.node import PAUSE_IMAGE

BUSYBOX_IMAGE = "localhost/busybox:test"
OPERATOR_IMAGE = "localhost/detectron-operator:test"
TRAINER_IMAGE = "localhost/detectron-trainer:test"
ROOT = Path(__file__).parents[2]
RECIPES = Path(__file__).parent / "recipes"
_ARCHIVE = "image.tar"


def pause() -> Path:
    """The archive of the image that holds a pod's namespaces."""
    source, recipe = RECIPES / "pause.c", RECIPES / "pause.Dockerfile"

    def make(folder: Path) -> None:
        say("building the pause image")
        with tempfile.TemporaryDirectory() as context:
            run("gcc", "-Os", "-static", "-s", "-o", f"{context}/pause", str(source))
            buildah.build(PAUSE_IMAGE, recipe, Path(context), {})
        buildah.save(PAUSE_IMAGE, folder / _ARCHIVE)

    return cache.entry("images/pause", cache.key([source, recipe]), make) / _ARCHIVE


def busybox() -> Path:
    """The archive of an image with Debian's static busybox, for pods that only need a shell."""
    binary, recipe = Path("/usr/bin/busybox").resolve(), RECIPES / "busybox.Dockerfile"

    def make(folder: Path) -> None:
        say("building the busybox image")
        with tempfile.TemporaryDirectory() as context:
            shutil.copy(binary, context)
            buildah.build(BUSYBOX_IMAGE, recipe, Path(context), {})
        buildah.save(BUSYBOX_IMAGE, folder / _ARCHIVE)

    return cache.entry("images/busybox", cache.key([binary, recipe]), make) / _ARCHIVE


def operator() -> Path:
    """The archive of `OPERATOR_IMAGE`: the production Dockerfile, on a base made here."""
    return _production("operator", OPERATOR_IMAGE, bases.python(), {})


def trainer() -> Path:
    """The archive of `TRAINER_IMAGE`: the production Dockerfile, on torch for CPU, Detectron2 from PyPI."""
    base = bases.torch()
    arguments = {"BUILD_BASE": base, "DETECTRON2": "requirements.txt", "FORCE_CUDA": "0"}
    return _production("trainer-image", TRAINER_IMAGE, base, arguments)


def _production(folder: str, name: str, base: str, arguments: Mapping[str, str]) -> Path:
    """Build `<folder>/Dockerfile` in the repository's root, unless the same files were built before."""
    dockerfile = ROOT / folder / "Dockerfile"
    every = {"BASE": base, **arguments, **bases.index_arguments()}
    inputs = [ROOT / ".dockerignore", *cache.tree(ROOT / folder), *sorted(ROOT.glob("requirements/*.lock"))]

    def make(entry: Path) -> None:
        say(f"building {name}")
        buildah.build(name, dockerfile, ROOT, every, flags=bases.network_access())
        buildah.save(name, entry / _ARCHIVE)
        say(f"built {name}")

    return (
        cache.entry(f"images/{folder}", cache.key([name, *map(str, every.items()), *inputs]), make) / _ARCHIVE
    )
