"""buildah with a storage of its own in the cache folder: it shares nothing with the machine's images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster import cache
from tests.cluster.command import CommandError, run


def buildah(*arguments: str, timeout: float = 1800) -> str:
    """Run `buildah` on the storage in the cache and return its stdout, stripped."""
    storage = cache.root() / "storage"
    # What is mounted is noted on a file system that a restart of the machine empties, as it ends the mounts.
    volatile = Path("/run") / f"detectron-operator-storage-{cache.key([str(storage)])}"
    options = ("--root", str(storage), "--runroot", str(volatile), "--storage-driver", "overlay")
    return run("buildah", *options, *arguments, timeout=timeout).strip()


def exists(name: str) -> bool:
    """Whether the storage holds an image of this name."""
    try:
        buildah("inspect", "--type", "image", "--format", "{{.FromImageID}}", name)
    except CommandError as error:
        if "image not known" in str(error):
            return False
        raise
    return True


def build(
    name: str,
    dockerfile: Path,
    context: Path,
    arguments: Mapping[str, str],
    *,
    flags: Sequence[str] = (),
) -> None:
    """Build `dockerfile` in `context` and name the result; unchanged layers come from the storage."""
    given = [f"--build-arg={key}={value}" for key, value in arguments.items()]
    # chroot: a build needs no namespaces of its own, which not every machine may make.
    how = ("--isolation=chroot", "--network=host", "--layers", "--force-rm", "--pull=never")
    buildah("bud", *how, *given, *flags, "--tag", name, "--file", str(dockerfile), str(context))


def save(name: str, archive: Path) -> None:
    """Write the image as a docker-archive that carries its name."""
    buildah("push", "--quiet", name, f"docker-archive:{archive}:{name}")
