"""Signal all processes of a cgroup."""

from __future__ import annotations

import os
import time

from pyrunc.errors import CgroupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
else:
    import _signal

SIGKILL = 9
KILL_TIMEOUT = 10.0  # seconds


def signal_all(list_pids: Callable[[], list[int]], signal: int, *, frozen: bool = False) -> None:
    """Send a signal to each process that `list_pids` gives, by pidfd.

    Where the cgroup is not frozen, processes may come and go while this runs: SIGKILL is repeated
    until none is left, and no process that has taken over a pid is ever signalled.

    Raises CgroupError: not allowed, or processes are left after `KILL_TIMEOUT` seconds.
    """
    deadline = time.monotonic() + KILL_TIMEOUT
    while True:
        found = list_pids()
        _signal_some(found, list_pids, signal)
        if frozen or signal != SIGKILL or not found:
            return
        if time.monotonic() >= deadline:
            raise CgroupError(f"processes survived SIGKILL: {', '.join(map(str, found))}")
        time.sleep(0.001)


def _signal_some(found: list[int], list_pids: Callable[[], list[int]], signal: int) -> None:
    fds: dict[int, int] = {}
    try:
        for pid in found:
            try:
                fds[pid] = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
        # With the pidfds held, a pid that is still listed belongs to the process held.
        for pid in list_pids():
            if pid in fds:
                try:
                    _signal.pidfd_send_signal(fds[pid], signal)
                except ProcessLookupError:
                    continue
                except OSError as error:
                    raise CgroupError(
                        f"signal {signal} to process {pid}: {error.strerror}",
                        errno=error.errno or 0,
                    ) from error
    finally:
        for fd in fds.values():
            os.close(fd)
