"""The part of the `os` module that the runtime uses, without what importing `os` costs.

`os` is frozen into the interpreter, and yet is the dearest import that a command has: it makes some
thirty abstract base classes. The launcher's copies of our modules get this module where their
source says `import os` (csrc/launcher/freeze.py). What is not here is taken from `os` itself, so
nobody can tell the two apart, except by the time that is gained.
"""

from __future__ import annotations

import posix
from posix import *  # noqa: F403

SEEK_SET, SEEK_CUR, SEEK_END = range(3)


def fsencode(filename: str | bytes) -> bytes:
    """As os.fsencode; the encoding is UTF-8, as the launcher sets it."""
    return filename.encode("utf-8", "surrogateescape") if isinstance(filename, str) else filename


def fsdecode(filename: str | bytes) -> str:
    """As os.fsdecode."""
    return filename.decode("utf-8", "surrogateescape") if isinstance(filename, bytes) else filename


def makedirs(name: str, mode: int = 0o777, exist_ok: bool = False) -> None:
    """As os.makedirs."""
    head, tail = path.split(name)
    if not tail:
        head, tail = path.split(head)
    if head and tail and not path.exists(head):
        makedirs(head, exist_ok=True)
        if tail == ".":
            return
    try:
        posix.mkdir(name, mode)
    except OSError:
        if not exist_ok or not path.isdir(name):
            raise


class _Environment:
    """The environment that the process was started with; the rest of os.environ on demand."""

    def get(self, name: str, default: str | None = None) -> str | None:
        value = posix.environ.get(fsencode(name))
        return default if value is None else fsdecode(value)

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __getattr__(self, name: str) -> object:
        import os

        return getattr(os.environ, name)


environ = _Environment()  # type: ignore[assignment]


class _Path:
    """What is used of `os.path`, for paths that are strings; the rest of it on demand."""

    @staticmethod
    def join(first: str, *others: str) -> str:
        joined = first
        for part in others:
            if part.startswith("/"):
                joined = part
            elif not joined or joined.endswith("/"):
                joined += part
            else:
                joined += "/" + part
        return joined

    @staticmethod
    def split(name: str) -> tuple[str, str]:
        index = name.rfind("/") + 1
        head, tail = name[:index], name[index:]
        return head.rstrip("/") or head, tail

    @staticmethod
    def dirname(name: str) -> str:
        return _Path.split(name)[0]

    @staticmethod
    def normpath(name: str) -> str:
        slashes = len(name) - len(name.lstrip("/"))
        root = "//" if slashes == 2 else "/" if slashes else ""  # POSIX lets two slashes be special
        parts: list[str] = []
        for part in name.split("/"):
            if part in ("", "."):
                continue
            if part != ".." or (not root and not parts) or (parts and parts[-1] == ".."):
                parts.append(part)
            elif parts:
                parts.pop()
        return root + "/".join(parts) or "."

    @staticmethod
    def abspath(name: str) -> str:
        return _Path.normpath(name if name.startswith("/") else f"{posix.getcwd()}/{name}")

    @staticmethod
    def realpath(name: str) -> str:
        try:
            fd = posix.open(name, posix.O_PATH | posix.O_CLOEXEC)
        except OSError:
            import os

            return os.path.realpath(name)
        try:
            return posix.readlink(f"/proc/self/fd/{fd}")
        finally:
            posix.close(fd)

    @staticmethod
    def exists(name: str | int) -> bool:
        try:
            posix.stat(name)
        except (OSError, ValueError):
            return False
        return True

    @staticmethod
    def isdir(name: str | int) -> bool:
        try:
            return posix.stat(name).st_mode & 0o170000 == 0o040000
        except (OSError, ValueError):
            return False

    @staticmethod
    def samestat(one: posix.stat_result, other: posix.stat_result) -> bool:
        return one.st_ino == other.st_ino and one.st_dev == other.st_dev

    def __getattr__(self, name: str) -> object:
        import os

        return getattr(os.path, name)


path = _Path()


def __getattr__(name: str) -> object:
    import os

    return getattr(os, name)
