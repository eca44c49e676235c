"""What procfs says of processes (proc(5))."""

from __future__ import annotations

from pyrunc.host import files


def _stat_fields(pid: int) -> list[bytes]:
    data = files.read_bytes(f"/proc/{pid}/stat")
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
    files.write_text(f"/proc/{pid}/{name}", value)


def innermost_pid(pid: int) -> int:
    """The pid of a process as it sees it itself, in its own pid namespace. Raises OSError."""
    data = files.read_bytes(f"/proc/{pid}/status")
    start = data.index(b"NSpid:")
    return int(data[start : data.index(b"\n", start)].split()[-1])
