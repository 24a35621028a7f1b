"""The cache of slow-to-make folders: made once, never half, and not for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cluster import cache


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "detectron-operator"


def _make(folder: Path) -> None:
    (folder / "program").write_text("made")


def test_an_entry_is_made_once() -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        _make(folder)

    first, second = cache.entry("bin/etcd", "a", make), cache.entry("bin/etcd", "a", make)

    assert first == second
    assert (second / "program").read_text() == "made"
    assert len(made) == 1


def test_a_maker_that_fails_leaves_no_entry(folder: Path) -> None:
    def fail(folder: Path) -> None:
        _make(folder)
        raise RuntimeError("compiler crashed")

    with pytest.raises(RuntimeError, match="compiler crashed"):
        cache.entry("bin/etcd", "a", fail)

    assert list((folder / "bin").iterdir()) == []
    assert (cache.entry("bin/etcd", "a", _make) / "program").exists()


def test_what_a_killed_maker_left_is_removed(folder: Path) -> None:
    left = folder / "bin" / ".partial-etcd-killed" / "entry"
    left.mkdir(parents=True)
    other = folder / "bin" / ".partial-kube-running" / "entry"
    other.mkdir(parents=True)

    cache.entry("bin/etcd", "a", _make)

    assert not left.exists()
    assert other.exists()


def test_the_last_two_of_a_kind_are_kept(folder: Path) -> None:
    for used, key in ((10, "a"), (20, "b")):
        made = cache.entry("bin/etcd", key, _make)
        os.utime(made, (used, used))
    cache.entry("bin/etcd", "c", _make)

    assert sorted(path.name for path in (folder / "bin").iterdir()) == ["etcd-b", "etcd-c"]


def test_the_key_depends_on_content_and_its_borders(tmp_path: Path) -> None:
    file = tmp_path / "go.mod"
    file.write_text("module a")
    before = cache.key(["flag", file])
    file.write_text("module b")

    assert cache.key(["flag", file]) != before
    assert cache.key(["ab", "c"]) != cache.key(["a", "bc"])


def test_the_tree_of_a_folder_names_moved_files_and_leaves_out_bytecode(tmp_path: Path) -> None:
    source = tmp_path / "src"
    (source / "__pycache__").mkdir(parents=True)
    (source / "__pycache__" / "a.pyc").write_text("x")
    (source / "a.py").write_text("x")
    before = cache.key(cache.tree(source))
    (source / "a.py").rename(source / "b.py")

    assert cache.tree(source) == ["src/b.py", source / "b.py"]
    assert cache.key(cache.tree(source)) != before
