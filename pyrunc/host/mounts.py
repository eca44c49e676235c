"""Paths below a root that others may change, and mounts of the runtime's own; for what the init cannot do."""

from __future__ import annotations

import errno
import os

from pyrunc.host._shim import ffi, lib

_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_IN_ROOT = 0x10
_MS_BIND, _MS_REC = 4096, 1 << 14


def _failed(path: str) -> OSError:
    return OSError(ffi.errno, os.strerror(ffi.errno), path)


def open_in_root(root: int, path: str, flags: int = os.O_PATH) -> int:
    """Open `path` as a process does whose root directory is `root` (openat2(2)). Raises OSError."""
    how = ffi.new("struct open_how *")
    how.flags = flags | os.O_CLOEXEC
    how.resolve = _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS
    name = ffi.new("char[]", os.fsencode(path) or b".")
    fd = lib.syscall(
        _OPENAT2,
        ffi.cast("int", root),
        name,
        how,
        ffi.cast("size_t", ffi.sizeof("struct open_how")),
    )
    if fd < 0:
        raise _failed(path)
    return int(fd)


def place_of(root: int, path: str) -> str:
    """Where `path` leads, below the root of `root`, as a path without symbolic links.

    What does not exist is taken as it is written. Raises OSError.
    """
    try:
        fd = open_in_root(root, path)
    except FileNotFoundError:
        return os.path.normpath("/" + path.lstrip("/"))
    try:
        found = os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
    top = os.readlink(f"/proc/self/fd/{root}").rstrip("/")
    return found.removeprefix(top) or "/"


def make_in_root(root: int, path: str, *, directory: bool) -> None:
    """Make a directory, or an empty file, below a root, and the directories above it. Raises OSError."""
    try:
        os.close(open_in_root(root, path))
        return
    except FileNotFoundError:
        above, _, name = path.rstrip("/").rpartition("/")
    if not name:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    make_in_root(root, above or "/", directory=True)
    parent = open_in_root(root, above or "/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        if directory:
            os.mkdir(name, 0o755, dir_fd=parent)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=parent))
    except FileExistsError:
        raise OSError(errno.ENOTDIR, "a symbolic link that leads nowhere", path) from None
    finally:
        os.close(parent)


def bind(source: str, target: str) -> None:
    """Mount `source`, and all below it, on `target`. Raises OSError."""
    flags = _MS_BIND | _MS_REC
    if lib.mount(os.fsencode(source), os.fsencode(target), ffi.NULL, flags, ffi.NULL) < 0:
        raise _failed(target)


def mount_points(pid: int | str = "self") -> list[tuple[int, str]]:
    """Id and mount point of each mount that a process sees, from its root (proc(5)). Raises OSError."""
    with open(f"/proc/{pid}/mountinfo", "rb") as file:
        lines = [line.split() for line in file]
    return [(int(fields[0]), _unescaped(fields[4])) for fields in lines]


def _unescaped(name: bytes) -> str:
    """A path of mountinfo: blanks and backslashes are octal."""
    first, *rest = name.split(b"\\")
    return os.fsdecode(first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest))
