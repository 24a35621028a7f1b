"""Container images built on this machine, each as a docker-archive in the cache that nodes can import."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.cluster import buildah, cache
from tests.cluster.command import run
from tests.cluster.console import say
from tests.cluster.node import PAUSE_IMAGE

BUSYBOX_IMAGE = "localhost/busybox:test"
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
