"""The processes of a container that has no cgroup, as a rootless one may: those of its pid namespace."""

from __future__ import annotations

import os

from pyrunc.host import signals


def pids_beside(pid: int) -> list[int]:
    """Host pids of the processes in the pid namespace of process `pid`, that one included; [] if it is gone.

    Without the right to look into a process (ptrace(2)), it is not seen; a rootless container's user has it.
    """
    try:
        namespace = os.stat(f"/proc/{pid}/ns/pid")
    except OSError:
        return []
    return [int(entry) for entry in os.listdir("/proc") if _is_in(entry, namespace)]


def _is_in(entry: str, namespace: os.stat_result) -> bool:
    if not entry.isdigit():
        return False
    try:
        return os.path.samestat(os.stat(f"/proc/{entry}/ns/pid"), namespace)
    except OSError:
        return False


def signal_beside(pid: int, signal: int) -> None:
    """Send a signal to each of `pids_beside`. Raises OSError where one may not get it."""
    try:
        namespace = os.stat(f"/proc/{pid}/ns/pid")
    except OSError:
        return
    for member in pids_beside(pid):
        try:
            fd = os.pidfd_open(member)
        except ProcessLookupError:
            continue
        try:
            # looked at again, as the pid may by now be another process's
            if _is_in(str(member), namespace):
                signals.send(fd, signal)
        except ProcessLookupError:
            continue
        finally:
            os.close(fd)
