"""The seccomp filters of a process, read from the kernel (ptrace(2), PTRACE_SECCOMP_GET_FILTER)."""

from __future__ import annotations

import ctypes
import errno
import os

_ATTACH, _DETACH, _SECCOMP_GET_FILTER = 16, 17, 0x420C
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, pid: int, address: int = 0, data: object = None) -> int:
    result = int(_libc.ptrace(ctypes.c_long(request), pid, ctypes.c_void_p(address), data))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace({request:#x}): {os.strerror(number)}")
    return result


def seccomp_filters(pid: int) -> list[bytes]:
    """The filters of the process, last installed first, as arrays of struct sock_filter.

    Raises:
        OSError: EACCES without CAP_SYS_ADMIN, EINVAL or EIO where the kernel lacks it.
    """
    found: list[bytes] = []
    _ptrace(_ATTACH, pid)
    try:
        os.waitpid(pid, 0x40000000)  # __WALL
        while True:
            try:
                count = _ptrace(_SECCOMP_GET_FILTER, pid, len(found))
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return found
                raise
            program = ctypes.create_string_buffer(count * 8)
            _ptrace(_SECCOMP_GET_FILTER, pid, len(found), program)
            found.append(program.raw)
    finally:
        _ptrace(_DETACH, pid)
