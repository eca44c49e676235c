"""Compiled filters on disk: for a profile that was compiled before, libseccomp is not even loaded.

A filter read from here is installed as it is, so whoever can write an entry decides what containers
may do. The directory must therefore belong to the effective user and be writable by nobody else,
and so must each entry; none of them may be reached through a symbolic link. A directory or an entry
that is not so is not used.

An entry carries the digest of everything in it, which finds torn and damaged ones, and the identity
of the libseccomp file that made it: another release knows other system calls, and comparing one
stat(2) is much cheaper than loading the library to ask for its version.

Entry: MAGIC, SHA-256 of the rest, then key digest, flags, lengths and contents of library identity,
skipped names, program.
"""

from __future__ import annotations

import os
from _stat import S_ISREG
from _struct import calcsize, pack, unpack_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Stored = tuple[bytes, int, tuple[str, ...]]
    sha256: Callable[[bytes], Any]
else:
    # The builtin module behind hashlib, which itself would bring OpenSSL along; Python 3.12
    # renamed it.
    try:
        from _sha256 import sha256
    except ImportError:
        from _sha2 import sha256

MAX_ENTRIES = 64
_MAGIC = b"pyrunc-seccomp-1"
_DIGEST = 32
_HEADER = f"={len(_MAGIC)}s{_DIGEST}s"
_BODY = f"={_DIGEST}sIIII"
_MAX_SIZE = 1 << 20
_TEMPORARY = ".new-"
_FOREIGN_WRITE = 0o022


class Cache:
    """The cache directory, opened; a context manager."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def open(cls, path: str) -> Cache | None:
        """Open the directory `path`, made (0700) where it is missing; None where it is unsafe."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            try:
                fd = os.open(path, flags)
            except FileNotFoundError:
                os.makedirs(path, 0o700, exist_ok=True)
                fd = os.open(path, flags)
        except OSError:
            return None
        if not _is_private(os.fstat(fd)):
            os.close(fd)
            return None
        return cls(fd)

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._fd)

    def get(self, key: bytes) -> Stored | None:
        """Program, flags and skipped names under `key`; None where there is no good entry."""
        try:
            fd = os.open(
                key.hex(),
                os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                dir_fd=self._fd,
            )
        except OSError:
            return None
        try:
            status = os.fstat(fd)
            if not S_ISREG(status.st_mode) or not _is_private(status) or status.st_size > _MAX_SIZE:
                return None
            entry = _decode(os.read(fd, _MAX_SIZE), key)
            if entry is not None:
                os.utime(fd)  # prune() drops those that were not used for longest
        except OSError:
            return None
        finally:
            os.close(fd)
        return entry

    def put(
        self, key: bytes, program: bytes, flags: int, skipped: tuple[str, ...], library: str
    ) -> None:
        """Store what the libseccomp file `library` made. A failure leaves the cache as it was."""
        identity = library_identity(library)
        if identity is None:
            return
        names = "\0".join(skipped).encode("utf-8", "surrogatepass")
        entry = _encode(key, flags, identity, names, program)
        temporary = f"{_TEMPORARY}{os.getpid()}-{os.urandom(8).hex()}"
        try:
            fd = os.open(
                temporary,
                os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                0o600,
                dir_fd=self._fd,
            )
            try:
                try:
                    complete = os.write(fd, entry) == len(entry)
                finally:
                    os.close(fd)
                if complete:
                    os.rename(temporary, key.hex(), src_dir_fd=self._fd, dst_dir_fd=self._fd)
                else:
                    os.unlink(temporary, dir_fd=self._fd)
            except OSError:
                os.unlink(temporary, dir_fd=self._fd)
            self._prune()
        except OSError:
            return

    def _prune(self) -> None:
        """Remove what was not used for longest, leftovers of killed writers included."""
        names = os.listdir(self._fd)
        if len(names) <= MAX_ENTRIES:
            return
        aged = []
        for name in names:
            try:
                status = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            aged.append((status.st_mtime_ns, name))
        aged.sort()
        for _, name in aged[: len(aged) - MAX_ENTRIES]:
            try:
                os.unlink(name, dir_fd=self._fd)
            except OSError:
                continue


def library_identity(path: str) -> bytes | None:
    """What tells one libseccomp file from another: path, device, inode, size and time of change."""
    try:
        s = os.stat(path)
    except (OSError, ValueError):
        return None
    return os.fsencode(
        f"{path}\0{s.st_dev}\0{s.st_ino}\0{s.st_size}\0{s.st_mtime_ns}\0{s.st_ctime_ns}"
    )


def _is_private(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & _FOREIGN_WRITE


def _encode(key: bytes, flags: int, identity: bytes, skipped: bytes, program: bytes) -> bytes:
    lengths = (len(identity), len(skipped), len(program))
    body = pack(_BODY, key, flags, *lengths) + identity + skipped + program
    return pack(_HEADER, _MAGIC, sha256(body).digest()) + body


def _decode(entry: bytes, key: bytes) -> Stored | None:
    start = calcsize(_HEADER)
    if len(entry) < start + calcsize(_BODY):
        return None
    magic, digest = unpack_from(_HEADER, entry)
    if magic != _MAGIC or sha256(entry[start:]).digest() != digest:
        return None
    stored_key, flags, *lengths = unpack_from(_BODY, entry, start)
    at = start + calcsize(_BODY)
    if stored_key != key or at + sum(lengths) != len(entry):
        return None
    parts = []
    for length in lengths:
        parts.append(entry[at : at + length])
        at += length
    identity, skipped, program = parts
    path = os.fsdecode(identity.partition(b"\0")[0])
    if library_identity(path) != identity:
        return None
    names = skipped.decode("utf-8", "surrogatepass")
    return program, flags, tuple(names.split("\0")) if names else ()
