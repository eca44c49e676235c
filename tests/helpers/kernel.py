"""What the kernel knows of a process and Python has no call for (x86-64 and the generic table)."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from typing import NamedTuple

_IOPRIO_GET, _SCHED_GETATTR = (252, 315) if platform.machine() == "x86_64" else (31, 275)
_WHO_PROCESS = 1
_CLASS_SHIFT = 13
_ATTR = struct.Struct("=IIQiIQQQ")  # struct sched_attr, version 0

_libc = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


class Scheduling(NamedTuple):
    """struct sched_attr."""

    policy: int
    flags: int
    nice: int
    priority: int
    runtime: int
    deadline: int
    period: int


def scheduling(pid: int) -> Scheduling:
    """sched_getattr(2). Raises OSError."""
    buffer = ctypes.create_string_buffer(_ATTR.size)
    _call(_SCHED_GETATTR, pid, buffer, _ATTR.size, 0)
    return Scheduling(*_ATTR.unpack(buffer.raw)[1:])


def io_priority(pid: int) -> tuple[int, int]:
    """ioprio_get(2): class and priority. Raises OSError."""
    value = _call(_IOPRIO_GET, _WHO_PROCESS, pid)
    return value >> _CLASS_SHIFT, value & (1 << _CLASS_SHIFT) - 1
