"""The cache of compiled filters: what is taken from it, and what never is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyrunc.errors import ConfigError
from pyrunc.plan import seccomp, seccomp_cache
from pyrunc.plan.seccomp import SeccompFilter, compile_filter

PROFILE: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "flags": ["SECCOMP_FILTER_FLAG_LOG"],
    "syscalls": [{"names": ["read", "call_of_2040"], "action": "SCMP_ACT_ALLOW"}],
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache"


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The profiles that were compiled, since nothing was taken from the cache for them."""
    built: list[dict[str, Any]] = []
    genuine = seccomp._build

    def build(profile: dict[str, Any]) -> tuple[SeccompFilter, str]:
        built.append(profile)
        return genuine(profile)

    monkeypatch.setattr(seccomp, "_build", build)
    return built


def compiled(
    directory: Path, profile: dict[str, Any] = PROFILE
) -> tuple[bytes, int, tuple[str, ...]]:
    filter_ = compile_filter(profile, cache_dir=str(directory))
    return filter_.program, filter_.flags, filter_.skipped


def test_second_time_comes_from_the_cache(directory: Path, builds: list[Any]) -> None:
    first = compiled(directory)
    assert first[1:] == (1 << 1, ("call_of_2040",))
    assert compiled(directory) == first
    assert len(builds) == 1


def test_directory_and_entries_are_private(directory: Path) -> None:
    old = os.umask(0)
    try:
        compiled(directory)
    finally:
        os.umask(old)
    assert directory.stat().st_mode & 0o7777 == 0o700
    assert [p.stat().st_mode & 0o7777 for p in directory.iterdir()] == [0o600]


def test_a_hit_loads_neither_libseccomp_nor_what_drives_it(directory: Path) -> None:
    compiled(directory)
    script = (
        "import sys; from pyrunc.plan.seccomp import compile_filter;"
        f"filter_ = compile_filter({PROFILE!r}, cache_dir={str(directory)!r});"
        "print(*sys.modules); print(open('/proc/self/maps').read())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert "pyrunc.plan.seccomp_cache" in done.stdout
    for absent in ("libseccomp", "_cffi_backend", "seccomp_filter", "seccomp_tables", "hashlib"):
        assert absent not in done.stdout


@pytest.mark.parametrize(
    "change",
    [
        {"defaultErrnoRet": 2},
        {"architectures": ["SCMP_ARCH_X86"]},
        {"flags": []},
        {"syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG"}]},
        {"syscalls": [{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}], "listenerPath": "/a"},
    ],
)
def test_another_profile_is_another_entry(
    directory: Path, builds: list[Any], change: dict[str, Any]
) -> None:
    plain = compiled(directory)
    assert compiled(directory, {**PROFILE, **change}) != plain
    assert len(builds) == 2


def test_where_notifications_go_does_not_matter(directory: Path, builds: list[Any]) -> None:
    notify = {
        **PROFILE,
        "syscalls": [{"names": ["getcwd"], "action": "SCMP_ACT_NOTIFY"}],
    }
    compiled(directory, {**notify, "listenerPath": "/one", "listenerMetadata": "1"})
    compiled(directory, {**notify, "listenerPath": "/two", "listenerMetadata": "2"})
    assert len(builds) == 1


def test_a_profile_that_lacks_its_listener_is_not_hidden_by_an_entry(directory: Path) -> None:
    notify = {
        **PROFILE,
        "syscalls": [{"names": ["getcwd"], "action": "SCMP_ACT_NOTIFY"}],
    }
    compiled(directory, {**notify, "listenerPath": "/one"})
    with pytest.raises(ConfigError):
        compiled(directory, notify)


# --- what is not to be trusted
# -----------------------------------------------------------------------


def entry(directory: Path) -> Path:
    (path,) = directory.iterdir()
    return path


def _flip(offset: int) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        path = entry(directory)
        data = bytearray(path.read_bytes())
        data[offset] ^= 1
        path.write_bytes(data)

    return damage


def _truncate(size: int) -> Callable[[Path], None]:
    return lambda directory: os.truncate(entry(directory), size)


def _append(directory: Path) -> None:
    with entry(directory).open("ab") as file:
        file.write(b"\0")


def _open_to_all(directory: Path) -> None:
    entry(directory).chmod(0o622)


def _symlink(directory: Path) -> None:
    path = entry(directory)
    path.replace(directory / "elsewhere")
    path.symlink_to("elsewhere")


def _fifo(directory: Path) -> None:
    path = entry(directory)
    path.unlink()
    os.mkfifo(path)


def _other_key(directory: Path) -> None:
    """A good entry, of another profile, under this one's name."""
    path = entry(directory)
    path.unlink()
    compiled(directory, {"defaultAction": "SCMP_ACT_ALLOW"})
    entry(directory).replace(path)


@pytest.mark.parametrize(
    "damage",
    [
        *(pytest.param(_flip(at), id=f"byte {at} flipped") for at in (0, 16, 48, 80, 100, -1)),
        *(pytest.param(_truncate(size), id=f"cut to {size}") for size in (0, 15, 47, 90, 200)),
        _append,
        _open_to_all,
        _symlink,
        _fifo,
        _other_key,
    ],
)
def test_a_bad_entry_is_ignored_and_replaced(
    directory: Path, builds: list[Any], damage: Callable[[Path], None]
) -> None:
    good = compiled(directory)
    damage(directory)
    builds.clear()
    assert compiled(directory) == good
    assert len(builds) == 1
    assert compiled(directory) == good
    assert len(builds) == 1


def test_an_entry_of_another_libseccomp_is_ignored(
    directory: Path, builds: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = compiled(directory)
    with monkeypatch.context() as upgrade:
        upgrade.setattr(seccomp_cache, "library_identity", lambda path: b"upgraded")
        assert compiled(directory) == good
        assert len(builds) == 2
        assert compiled(directory) == good
        assert len(builds) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_an_entry_of_another_owner_is_ignored(directory: Path, builds: list[Any]) -> None:
    compiled(directory)
    os.chown(entry(directory), 65534, 65534)
    compiled(directory)
    assert len(builds) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_a_directory_of_another_owner_is_not_used(directory: Path, builds: list[Any]) -> None:
    compiled(directory)
    os.chown(directory, 65534, 65534)
    compiled(directory)
    assert len(builds) == 2


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_directory_that_others_can_write_is_not_used(
    directory: Path, builds: list[Any], mode: int
) -> None:
    compiled(directory)
    directory.chmod(mode)
    compiled(directory)
    assert len(builds) == 2
    assert len(list(directory.iterdir())) == 1


def test_a_symbolic_link_to_a_directory_is_not_followed(
    directory: Path, builds: list[Any], tmp_path: Path
) -> None:
    compiled(directory)
    link = tmp_path / "link"
    link.symlink_to(directory)
    compiled(link)
    assert len(builds) == 2


def test_without_a_usable_directory_filters_are_built(tmp_path: Path, builds: list[Any]) -> None:
    (tmp_path / "file").touch()
    without = compile_filter(PROFILE, cache_dir=None)
    assert compiled(tmp_path / "file") == (without.program, without.flags, without.skipped)
    assert compiled(tmp_path / "file" / "below")[0] == without.program
    assert len(builds) == 3


# --- writing
# -----------------------------------------------------------------------------------------


def test_an_interrupted_write_leaves_no_entry(
    directory: Path, builds: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda fd, data: genuine(fd, data[:100]))
        program = compiled(directory)
        assert list(directory.iterdir()) == []
    assert compiled(directory) == program
    assert len(list(directory.iterdir())) == 1


def test_a_failing_write_is_no_failure(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **more: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", fail)
    assert compiled(directory)[0]
    assert list(directory.iterdir()) == []


def test_the_entries_used_last_are_kept(
    directory: Path, builds: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seccomp_cache, "MAX_ENTRIES", 3)

    def profile(number: int) -> dict[str, Any]:
        return {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": number}

    def age() -> None:
        for path in directory.iterdir():
            before = path.stat().st_mtime_ns - 10**9
            os.utime(path, ns=(before, before))

    for number in (1, 2, 3):
        compiled(directory, profile(number))
        age()
    compiled(directory, profile(1))
    age()
    (directory / ".new-1-leftover").touch()
    os.utime(directory / ".new-1-leftover", (0, 0))
    compiled(directory, profile(4))
    assert len(list(directory.iterdir())) == 3
    builds.clear()
    compiled(directory, profile(1))
    compiled(directory, profile(3))
    compiled(directory, profile(4))
    assert builds == []
    compiled(directory, profile(2))
    assert builds == [profile(2)]
