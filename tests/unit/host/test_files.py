"""Small files: the same in one call of the shim as by a few of Python's."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pyrunc.host import files, shim


@pytest.fixture(autouse=True, params=["by the shim", "without it"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways must come to the same."""
    monkeypatch.setattr(shim, "is_loaded", lambda: request.param == "by the shim")
    return str(request.param)


@pytest.mark.parametrize("size", [0, 1, files.SMALL - 1, files.SMALL, files.SMALL + 1, 300_000])
def test_all_of_a_file_is_read(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    assert files.read_bytes(str(tmp_path / "file")) == data


def test_files_that_have_no_size_are_read() -> None:
    assert files.read_bytes("/proc/self/status").startswith(b"Name:")
    assert b" / " in files.read_bytes("/proc/self/mountinfo")


@pytest.mark.parametrize(
    ("name", "error"),
    [("missing", FileNotFoundError), (".", IsADirectoryError), ("file/x", NotADirectoryError)],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, error: type[OSError]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(error):
        files.read_bytes(f"{tmp_path}/{name}")


def test_what_is_there_is_written_to_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("......")
    files.write_text(str(path), "äb")
    assert path.read_text() == "äb..."
    files.write_text(str(path), "")
    assert path.read_text() == "äb..."


def test_writing_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        files.write_text(f"{tmp_path}/missing", "x")
    assert caught.value.strerror == os.strerror(errno.ENOENT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [0, 10, 1 << 20])
def test_a_file_is_put_in_place(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    for text in ("x" * size, "\udcff" + "y" * size):
        files.replace(str(path), text)
        assert path.read_bytes() == text.encode("utf-8", "surrogateescape")
    assert path.stat().st_mode & 0o7777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_beside_it_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "file.new").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        files.replace(f"{tmp_path}/file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_cannot_be_put_in_place(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.replace(f"{tmp_path}/missing/file", "x")
    (tmp_path / "directory").mkdir()
    with pytest.raises(IsADirectoryError):
        files.replace(f"{tmp_path}/directory", "x")


@pytest.mark.parametrize(
    "call", [files.read_bytes, lambda p: files.replace(p, ""), files.real_path]
)
def test_a_nul_ends_no_path(tmp_path: Path, call: object) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"(?i)nul"):
        call(f"{tmp_path}/file\0more")  # type: ignore[operator]


@pytest.mark.parametrize(
    "path", ["link/below", ".", "link/../file", "missing", "missing/below", "loop/x", "dangling"]
)
def test_real_path_is_that_of_the_standard_library(tmp_path: Path, path: str) -> None:
    (tmp_path / "real/below").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert files.real_path(f"{tmp_path}/{path}") == os.path.realpath(f"{tmp_path}/{path}")


def test_a_relative_real_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert files.real_path("..") == os.path.realpath("..")


def test_a_directory_is_locked_once(tmp_path: Path) -> None:
    fd = shim.lock_directory(str(tmp_path))
    assert fd >= 0
    assert not os.get_inheritable(fd)
    assert shim.lock_directory(str(tmp_path)) == -1
    os.close(fd)
    again = shim.lock_directory(str(tmp_path))
    assert again >= 0
    os.close(again)


def test_only_a_directory_that_is_there_is_locked(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert shim.lock_directory(f"{tmp_path}/file") == -1
    assert shim.lock_directory(f"{tmp_path}/missing") == -1


def test_a_directory_of_files_is_cleared(tmp_path: Path) -> None:
    directory = tmp_path / "directory"
    directory.mkdir()
    (tmp_path / "kept").touch()
    (directory / "file").touch()
    (directory / ".hidden").touch()
    (directory / "link").symlink_to(tmp_path / "kept")
    assert shim.clear_directory(str(directory))
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert not shim.clear_directory(str(directory))


def test_a_directory_with_others_is_not(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    assert not shim.clear_directory(str(tmp_path))
    assert (tmp_path / "below").is_dir()


def test_the_mount_that_a_path_leads_to() -> None:
    fd = os.open("/proc", os.O_PATH)
    try:
        info = Path(f"/proc/self/fdinfo/{fd}").read_text()
    finally:
        os.close(fd)
    assert f"mnt_id:\t{shim.mount_id('/proc')}\n" in info
    assert shim.mount_id("/missing") == -1
