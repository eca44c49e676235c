"""How processes ended, by pidfd."""

from __future__ import annotations

import fcntl
import os

_P_PIDFD = 3
_WEXITED = 4
_CLD_EXITED = 1

# <linux/pidfd.h>, struct pidfd_info as it was first: 64 bytes
_PIDFD_GET_INFO = 0xC040FF0B
_INFO_SIZE = 64
_INFO_EXIT = 1 << 3
_EXIT_CODE_OFFSET = 60


def reap(pidfd: int, *, wait: bool = True, keep: bool = False) -> int | None:
    """Take away a child that ends, and return its wait status (wait(2)).

    Args:
        pidfd: of any process. One that is no child, or was taken away by other code of this program, has to have
            ended; Linux 6.15 and later can still tell how.
        wait: wait for the end of a child.
        keep: leave a child that has ended for others to take away.

    Returns None when it cannot be told, or the child has not ended.
    """
    options = _WEXITED | (0 if wait else os.WNOHANG) | (os.WNOWAIT if keep else 0)
    try:
        info = os.waitid(_P_PIDFD, pidfd, options)
    except ChildProcessError:
        return _told_by_kernel(pidfd)
    if info is None:
        return None
    status: int = info.si_status
    return status << 8 if info.si_code == _CLD_EXITED else status


def _told_by_kernel(pidfd: int) -> int | None:
    buffer = bytearray(_INFO_SIZE)
    buffer[0:8] = _INFO_EXIT.to_bytes(8, "little")
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, buffer)
    except OSError:  # an older kernel, or the process has not been taken away yet
        return None
    if not int.from_bytes(buffer[0:8], "little") & _INFO_EXIT:
        return None
    return int.from_bytes(buffer[_EXIT_CODE_OFFSET:_INFO_SIZE], "little", signed=True)


def exit_code(status: int) -> int:
    """The exit code that runtimes give for a wait status: 128 plus the number of a signal."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code
