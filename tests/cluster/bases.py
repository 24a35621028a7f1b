"""Base images for the production Dockerfiles where no registry can be reached: Python, and torch for CPU.

Each is named by the hash of its recipe (`localhost/base/python:<key>`) and kept in buildah's storage.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.cluster import buildah, cache, cuda_stubs
from tests.cluster.command import run
from tests.cluster.console import say

TORCH_LOCK = Path(__file__).parent / "torch-cpu.lock"
_SUITE = "bookworm"
_PACKAGES = ("python3", "python3-pip", "ca-certificates")
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*")
_SITE_PACKAGES = "usr/local/lib/python3.11/dist-packages"
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def python() -> str:
    """The name of a Debian image with Python 3.11 and pip."""
    name = f"localhost/base/python:{cache.key([_SUITE, *_PACKAGES, *_LEFT_OUT])}"
    return _ensure(name, _make_python)


def torch() -> str:
    """The name of `python()` with torch and torchvision, which run on the CPU (see `cuda_stubs`)."""
    base = python()
    key = cache.key([base, TORCH_LOCK, Path(cuda_stubs.__file__)])
    return _ensure(f"localhost/base/torch:{key}", lambda name: _make_torch(name, base))


def network_access() -> list[str]:
    """Flags that let a build trust what this machine trusts, such as a proxy; the image keeps no trace."""
    given = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
    bundle = next((os.environ[name] for name in given if os.environ.get(name)), _CERTIFICATES)
    return [f"--volume={bundle}:{_CERTIFICATES}:ro"] if Path(bundle).is_file() else []


def index_arguments() -> dict[str, str]:
    """Build arguments for the index and the proxies that this machine's environment names."""
    names = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def _ensure(name: str, make: Callable[[str], None]) -> str:
    with cache.locked(cache.root() / "locks" / "bases"):
        if not buildah.exists(name):
            make(name)
    return name


def _make_python(name: str) -> None:
    say("making the Python base image (about a minute)")
    with tempfile.TemporaryDirectory() as context:
        left_out = [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
        included = f"--include={','.join(_PACKAGES)}"
        archive = f"{context}/base.tar"
        run("mmdebstrap", "--quiet", "--variant=minbase", included, *left_out, _SUITE, archive, timeout=1200)
        dockerfile = Path(context) / "Dockerfile"
        dockerfile.write_text("FROM scratch\nADD base.tar /\n")
        buildah.build(name, dockerfile, Path(context), {})


def _make_torch(name: str, base: str) -> None:
    say("making the torch base image (about two minutes)")
    container = buildah.buildah("from", "--pull-never", base)
    try:
        buildah.buildah("copy", container, str(TORCH_LOCK), "/torch.lock")
        pip = ["python3", "-m", "pip", "install", "--quiet", "--no-cache-dir", "--break-system-packages"]
        flags = ["--isolation=chroot", "--network=host", *network_access()]
        environment = [f"--env={key}={value}" for key, value in index_arguments().items()]
        command = [*pip, "--no-deps", "--require-hashes", "-r", "/torch.lock"]
        buildah.buildah("run", *flags, *environment, container, "--", *command)
        root = Path(buildah.buildah("mount", container))
        cuda_stubs.install(root / _SITE_PACKAGES)
        (root / "torch.lock").unlink()
        buildah.buildah("umount", container)
        buildah.buildah("commit", "--quiet", container, name)
    finally:
        buildah.buildah("rm", container)
