"""The stand-in of `os` in the launcher's modules: it must not be told apart from `os`."""

from __future__ import annotations

import ast
import os
import posix
from itertools import product
from pathlib import Path

import pytest

import pyrunc
from pyrunc.host import lean_os

PARTS = ["", "/", "//", "///", "a", "/a", "a/", "a//", ".", "..", "a/b", "/..", "../..", "a/./b"]
PATHS = sorted({"".join(parts) for parts in product(PARTS, repeat=3)})


@pytest.mark.parametrize("name", ["split", "dirname", "normpath", "abspath", "exists", "isdir"])
def test_functions_of_one_path(name: str) -> None:
    ours, theirs = getattr(lean_os.path, name), getattr(os.path, name)
    assert [(path, ours(path)) for path in PATHS] == [(path, theirs(path)) for path in PATHS]


def test_join() -> None:
    for parts in (*product(PARTS, repeat=2), *product(PARTS, repeat=3)):
        assert lean_os.path.join(*parts) == os.path.join(*parts)


def test_realpath(tmp_path: Path) -> None:
    (tmp_path / "directory" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to("directory")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("", "directory/below", "link", "link/below/..", "link/../link", "none/x", "loop"):
        path = f"{tmp_path}/{name}"
        assert lean_os.path.realpath(path) == os.path.realpath(path)


def test_files(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (str(tmp_path), str(tmp_path / "file"), str(tmp_path / "none"), "a\0b", 0):
        assert lean_os.path.exists(path) == os.path.exists(path)
        assert lean_os.path.isdir(path) == os.path.isdir(path)
    one, other = os.stat(tmp_path), os.stat(tmp_path / "file")
    assert lean_os.path.samestat(one, one)
    assert not lean_os.path.samestat(one, other)


@pytest.mark.parametrize("name", ["a", "a/b/c", "a/b/c/", "a//b", "a/./b/.", "file", "file/a"])
@pytest.mark.parametrize("exist_ok", [True, False])
@pytest.mark.parametrize("times", [1, 2])
def test_makedirs(tmp_path: Path, name: str, exist_ok: bool, times: int) -> None:
    outcomes = []
    for module in (os, lean_os):
        base = tmp_path / module.__name__
        base.mkdir()
        (base / "file").touch()
        outcome = []
        for _ in range(times):
            try:
                module.makedirs(f"{base}/{name}", 0o711, exist_ok)
            except OSError as error:
                outcome.append(error.errno)
        made = [(str(p.relative_to(base)), p.stat().st_mode) for p in sorted(base.rglob("*"))]
        outcomes.append((outcome, made))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("text", ["", "plain", "\u00e4", "\udcff", b"", b"\xff\xc3\xa4"])
def test_encoding(text: str | bytes) -> None:
    assert lean_os.fsencode(text) == os.fsencode(text)
    assert lean_os.fsdecode(text) == os.fsdecode(text)


def test_environment() -> None:
    # the environment of the start is what there is: names that tests do not change
    assert lean_os.environ.get("PATH") == os.environ.get("PATH")
    assert lean_os.environ["PATH"] == os.environ["PATH"]
    assert lean_os.environ.get("NOT_SET") is None
    assert lean_os.environ.get("NOT_SET", "x") == "x"
    with pytest.raises(KeyError):
        lean_os.environ["NOT_SET"]
    assert lean_os.environ.copy() == os.environ.copy()


def test_the_rest_is_that_of_os() -> None:
    assert lean_os.open is posix.open
    assert lean_os.walk is os.walk
    assert lean_os.path.relpath is os.path.relpath
    assert (lean_os.SEEK_SET, lean_os.SEEK_CUR, lean_os.SEEK_END) == (0, 1, 2)
    with pytest.raises(AttributeError):
        _ = lean_os.no_such_name


def test_nobody_changes_the_environment_through_it() -> None:
    """os.environ[...] = would not get to the real one."""
    for path in Path(pyrunc.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
                assert isinstance(node.ctx, ast.Load), f"{path}:{node.lineno}"
