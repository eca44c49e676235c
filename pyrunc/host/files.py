"""Small files, whole. In a program of many threads each system call is a turn at the interpreter's lock; where the shim
is there, what belongs together is one call of it.
"""

from __future__ import annotations

import os

from pyrunc.host import shim

SMALL = 16384  # bytes; what is longer is read the other way


def read_bytes(path: str) -> bytes:
    """The whole of a file. Raises OSError."""
    if shim.is_loaded():
        data = shim.read_file(path, SMALL)
        if len(data) < SMALL:
            return data
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 65536):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def write_text(path: str, text: str) -> None:
    """Write to a file that is there, in one write(2), as cgroupfs and procfs want it. Raises OSError."""
    if shim.is_loaded() and "\0" not in text:
        done, error = shim.carry_out("w", [path, text])
        if not done:
            raise OSError(error, os.strerror(error), path)
        return
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def replace(path: str, text: str) -> None:
    """Put a whole file of mode 0600 in place, or leave the one that is there. Raises OSError."""
    beside = f"{path}.new"
    data = text.encode("utf-8", "surrogateescape")
    if shim.is_loaded():
        shim.replace_file(path, beside, data)
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(beside, flags, 0o600)
    try:
        shim.write_all(fd, data)
    finally:
        os.close(fd)
    os.rename(beside, path)


def real_path(path: str) -> str:
    """The path without symbolic links, absolute, as far as it leads anywhere."""
    return (shim.is_loaded() and shim.real_path(path)) or os.path.realpath(path)
