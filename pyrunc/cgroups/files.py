"""Files of the cgroup filesystems: read, write, and say what went wrong."""

from __future__ import annotations

import os

from pyrunc.errors import CgroupError
from pyrunc.host import shim
from pyrunc.host.files import read_bytes, write_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


#: From so many on it is worth while to have system calls made in one call of the shim.
MANY = 4


class CgroupWrite:
    """One value to be written to one file of a cgroup.

    Attributes:
        path: the file.
        value: what is written, in one write(2), as cgroupfs wants it.
        pointer: JSON pointer of what asked for it; None for what the runtime does on its own.
        otherwise: what is written instead where the kernel does not have the file.
        optional: the kernel need not have the file.
        early: to be written before the cgroup's first process joins.
        hint: what to tell when the kernel refuses the value.
    """

    __slots__ = ("early", "hint", "optional", "otherwise", "path", "pointer", "value")

    def __init__(
        self,
        path: str,
        value: str,
        pointer: str | None,
        *,
        otherwise: CgroupWrite | None = None,
        optional: bool = False,
        early: bool = False,
        hint: str = "",
    ) -> None:
        self.path = path
        self.value = value
        self.pointer = pointer
        self.otherwise = otherwise
        self.optional = optional
        self.early = early
        self.hint = hint

    def __str__(self) -> str:
        return f"write {self.value!r} to {self.path}"


def read_text(path: str) -> str:
    """The content of a file of cgroupfs. Raises OSError."""
    return read_bytes(path).decode()


def read_or_empty(path: str) -> str:
    """As `read_text`, with "" for what cannot be read."""
    try:
        return read_text(path)
    except OSError:
        return ""


def failure(action: str, error: OSError, pointer: str | None = None, hint: str = "") -> CgroupError:
    """A CgroupError for a failed system call."""
    message = f"cgroup: {action}: {error.strerror}"
    if hint:
        message += f" ({hint})"
    return CgroupError(message + asked_by(pointer), pointer=pointer, errno=error.errno or 0)


def asked_by(pointer: str | None) -> str:
    """The end of a message: what asked for the thing that went wrong.

    A pointer that is not below /linux is into the resources of an update.
    """
    if pointer is None:
        return ""
    document = "config.json" if pointer.startswith("/linux/") else "resources"
    return f" ({document}: {pointer})"


def refuse(message: str, pointer: str | None) -> CgroupError:
    """A CgroupError for something asked for that cannot be."""
    return CgroupError(message + asked_by(pointer), pointer=pointer)


def write_one(write: CgroupWrite) -> None:
    """Perform one write. Raises OSError."""
    try:
        write_text(write.path, write.value)
    except FileNotFoundError:
        if write.otherwise is not None:
            write_text(write.otherwise.path, write.otherwise.value)
        elif not write.optional:
            raise


def write_all(writes: Iterable[CgroupWrite]) -> None:
    """Perform writes in order.

    The kernel holds some values against each other (memory against memory+swap, quota against
    period), so what it calls invalid is tried once more after the others.

    Raises CgroupError.
    """
    postponed = []
    rest = list(writes)
    if len(rest) >= MANY:
        done, _ = shim.carry_out(
            "w", [text for write in rest for text in (write.path, write.value)]
        )
        rest = rest[done:]
    for write in rest:
        try:
            write_one(write)
        except OSError as error:
            if error.errno != 22:  # EINVAL
                raise explain(write, error) from error
            postponed.append(write)
    for write in postponed:
        try:
            write_one(write)
        except OSError as error:
            raise explain(write, error) from error


def explain(write: CgroupWrite, error: OSError) -> CgroupError:
    """The CgroupError for a failed write, with what the kernel leaves unsaid."""
    hint = write.hint
    directory, _, name = write.path.rpartition("/")
    if error.errno == 2 and os.path.isdir(directory):  # ENOENT
        from pyrunc.cgroups.explain import missing_file

        hint = missing_file(directory, name)
    elif error.errno == 16 and name == "memory.limit_in_bytes":  # EBUSY
        usage = read_or_empty(f"{directory}/memory.usage_in_bytes").strip()
        peak = read_or_empty(f"{directory}/memory.max_usage_in_bytes").strip()
        hint = f"more is in use: {usage} bytes now, {peak} at most so far"
    return failure(str(write), error, write.pointer, hint)
