"""Many small system calls in one call of the shim."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pyrunc.host import shim


def test_directories(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("a", "a/b", "c")]
    assert shim.carry_out("d", paths) == (3, 0)
    assert all(os.path.isdir(path) for path in paths)
    assert os.stat(paths[0]).st_mode & 0o777 == 0o755
    assert shim.carry_out("s", paths) == (3, 0)
    assert shim.carry_out("r", paths[::-1]) == (3, 0)
    assert list(tmp_path.iterdir()) == []


def test_files_are_written_in_one_call_each_and_not_made(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("......")
    two.write_text("")
    assert shim.carry_out("w", [str(one), "abc", str(two), "", str(two), "ü"]) == (3, 0)
    assert (one.read_text(), two.read_text()) == ("abc...", "ü")
    assert shim.carry_out("w", [str(tmp_path / "three"), "x"]) == (0, errno.ENOENT)
    assert not (tmp_path / "three").exists()


def test_the_first_that_fails_ends_it(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("a", "missing/b", "c")]
    assert shim.carry_out("d", paths) == (1, errno.ENOENT)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_nothing_to_do() -> None:
    assert shim.carry_out("d", []) == (0, 0)
    assert shim.carry_out("w", []) == (0, 0)


@pytest.mark.parametrize("steps", [["/a\0b"], ["/a", "/b\0"], ["\0"]])
def test_a_nul_character_is_not_the_end_of_a_path(steps: list[str]) -> None:
    with pytest.raises(ValueError, match="NUL"):
        shim.carry_out("s", steps)


def test_no_such_kind() -> None:
    assert shim.carry_out("x", ["/"]) == (0, errno.EINVAL)


def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    assert shim.carry_out("d", [name]) == (1, 0)
    assert os.listdir(os.fsencode(tmp_path)) == [b"\xff"]
