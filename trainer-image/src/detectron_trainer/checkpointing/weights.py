"""The weights that training starts from: downloaded whole or not at all, checked before anything trains."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote, urlsplit

from detectron_trainer.failures import WeightsRefusedError, WeightsUnavailableError
from detectron_trainer.gang.world import World

TIMEOUT_SECONDS = 60.0
"""How long a server may be silent."""
_CHUNK = 1 << 20
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})

_logger = logging.getLogger(__name__)


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where downloads stay: in the folder that Detectron2's own downloads go to."""
    return Path(environment.get("FVCORE_CACHE", "~/.torch/iopath_cache")).expanduser() / "detectron_trainer"


def shared_weights(world: World, source: str, sha256: str | None, cache: Path, *, here: bool) -> str:
    """A local path for `source` (a path, a URL, or empty) on the ranks that read it; all ranks call it.

    The ranks that are `here` fetch it; the others of their pod may read it afterwards.

    Raises:
        WeightsRefusedError: see `fetch`.
        WeightsUnavailableError: see `fetch`.
    """
    path = fetch(source, sha256, cache) if here and source else local_path(source, cache)
    world.barrier()
    return str(path) if path is not None else ""


def local_path(source: str, cache: Path) -> Path | None:
    """Where `source` lies once it is fetched; the name stays, because its suffix tells the format."""
    if not source:
        return None
    if source.startswith("/"):
        return Path(source)
    name = unquote(PurePosixPath(urlsplit(source).path).name) or "weights"
    return cache / hashlib.sha256(source.encode()).hexdigest()[:16] / name


def fetch(source: str, sha256: str | None, cache: Path) -> Path:
    """The file that `source` names, downloaded to `cache` if it is a URL whose file is not there yet.

    Raises:
        WeightsRefusedError: the server has no such file or refuses it, or its SHA-256 is not `sha256`.
        WeightsUnavailableError: the server cannot be reached, or the connection broke.
    """
    path = local_path(source, cache)
    assert path is not None
    if not source.startswith("/") and not (path.is_file() and sha256 in (None, _digest(path))):
        _download(source, sha256, path)
    elif sha256 is not None and (found := _digest(path)) != sha256:
        raise _other_file(source, found, sha256)
    return path


def _download(url: str, sha256: str | None, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _logger.info("downloading %s", url)
    # A name of its own: several runs may share the cache. What is left of one that was killed goes with /tmp.
    descriptor, unfinished = tempfile.mkstemp(dir=path.parent, prefix=".unfinished-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            _copy(url, file)
        found = _digest(Path(unfinished))
        if sha256 is not None and found != sha256:
            raise _other_file(url, found, sha256)
        Path(unfinished).replace(path)
    except urllib.error.HTTPError as error:
        error.close()
        kind = WeightsUnavailableError if error.code in _PASSING else WeightsRefusedError
        raise kind(f"{url}: the server says {error.code} {error.reason}") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise WeightsUnavailableError(f"{url} cannot be downloaded: {error}") from error
    finally:
        Path(unfinished).unlink(missing_ok=True)


def _copy(url: str, file: IO[bytes]) -> None:
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
        shutil.copyfileobj(answer, file, _CHUNK)
        length = answer.headers.get("Content-Length")
    # The standard library takes the end of the connection for that of the file.
    if length is not None and file.tell() != int(length):
        raise ConnectionError(f"the connection broke after {file.tell()} of {length} bytes")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _other_file(source: str, found: str, wanted: str) -> WeightsRefusedError:
    return WeightsRefusedError(
        f"spec.weights.sha256: {source} has SHA-256 {found}, not {wanted}; it is another file than was meant"
    )
