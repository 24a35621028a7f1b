"""Building the cluster's programs: what is said when Go cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import binaries
from tests.cluster.binaries import GoError, Tool


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    """A tool whose module asks for Go 1.26 and does not compile, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(binaries, "TOOLS", tmp_path / "tools")
    module = tmp_path / "tools" / "etcd"
    module.mkdir(parents=True)
    (module / "go.mod").write_text("module example.test/etcd\n\ngo 1.26.0\n")
    return Tool("etcd", {"etcd": "."})


def _go(folder: Path, script: str) -> str:
    """A PATH whose only program is a `go` that runs this shell script."""
    program = folder / "go"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(folder)


def test_missing_go_is_named(tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(GoError, match="go is not on PATH"):
        binaries.build(tool)


def test_an_old_go_is_named_with_what_is_needed(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", _go(tmp_path, "echo go1.9.7"))

    with pytest.raises(GoError, match=r"is go1\.9\.7, but etcd needs Go 1\.26\.0 or newer"):
        binaries.build(tool)


def test_a_failed_build_shows_the_compilers_words_and_caches_nothing(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = 'if [ "$1" = env ]; then echo go1.27rc1; else echo main.go:3: syntax error >&2; exit 1; fi'
    monkeypatch.setenv("PATH", _go(tmp_path, script))

    with pytest.raises(GoError, match="syntax error"):
        binaries.build(tool)

    assert not list((tmp_path / "cache").rglob("etcd-*"))


def test_every_tool_pins_its_module_by_hash() -> None:
    for every in binaries.ALL:
        names = {file.name for file in every.inputs()}
        assert {"go.mod", "go.sum"} <= names, every.name
