"""What procfs says of processes (proc(5))."""

from __future__ import annotations

import os


def _stat_fields(pid: int) -> list[bytes]:
    fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(fd, 4096)
    finally:
        os.close(fd)
    # the name in parentheses may hold anything
    return data[data.rindex(b")") + 2 :].split()


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot. With the pid it names one process for good.

    Raises:
        OSError: there is no such process.
    """
    return int(_stat_fields(pid)[19])


def is_alive(pid: int, started: int) -> bool:
    """The process with this pid is the one that started then, and has not ended."""
    try:
        fields = _stat_fields(pid)
    except OSError:
        return False
    return int(fields[19]) == started and fields[0] not in (b"Z", b"X")


def write(pid: int, name: str, value: str) -> None:
    """Write /proc/PID/NAME. Raises OSError."""
    fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def innermost_pid(pid: int) -> int:
    """The pid of a process as it sees it itself, in its own pid namespace. Raises OSError."""
    fd = os.open(f"/proc/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(fd, 8192)
    finally:
        os.close(fd)
    start = data.index(b"NSpid:")
    return int(data[start : data.index(b"\n", start)].split()[-1])


def mount_id(path: str) -> int:
    """The id of the mount that `path` leads to (proc(5), fdinfo); -1 where it leads nowhere."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        info = os.open(f"/proc/self/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.read(info, 4096)
        finally:
            os.close(info)
    finally:
        os.close(fd)
    return int(data[data.index(b"mnt_id:") + 7 :].split(None, 1)[0])
