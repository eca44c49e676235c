"""Signals by pidfd, without the `signal` module and the enums that it makes."""

from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal

SIGKILL = 9
SIGPIPE = 13
SIGTERM = 15
SIGCHLD = 17
SIGSTOP = 19
SIGURG = 23
SIGWINCH = 28

_POLLIN = 1


def send(pidfd: int, signal: int) -> None:
    """pidfd_send_signal(2). Raises OSError; ProcessLookupError when the process has ended."""
    _signal.pidfd_send_signal(pidfd, signal)


def wait(pidfd: int, timeout: float) -> bool:
    """Wait until the process of a pidfd has ended; `timeout` in seconds. False when it has not."""
    poll = select.poll()
    poll.register(pidfd, _POLLIN)
    return len(poll.poll(timeout * 1000)) > 0


def kill_and_wait(pidfd: int, timeout: float = 10.0) -> None:
    """SIGKILL, and wait until it has worked; no error for a process that has ended."""
    try:
        send(pidfd, SIGKILL)
    except ProcessLookupError:
        return
    wait(pidfd, timeout)
