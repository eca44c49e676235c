"""Running a program on the host: a hook, or a helper."""

from __future__ import annotations

import errno
import os
import select
import time

from pyrunc.host import children, shim, signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrunc.host.waiting import Steps

#: How much of what it writes is kept, in bytes.
OUTPUT_MAX = 512

_FAR = 1e6  # seconds, about what poll(2) can wait


class Result:
    """How a program ended: error number `error` of `call`, or its wait `status`; and what it wrote."""

    __slots__ = ("call", "error", "output", "status")

    def __init__(self, error: int, call: str, status: int, output: str) -> None:
        self.error = error
        self.call = call
        self.status = status
        self.output = output


def running(
    path: str,
    args: Sequence[str],
    env: Sequence[str],
    state: bytes,
    timeout: float,
    outputs: tuple[int, int] = (-1, -1),
) -> Steps[Result | None]:
    """Run a program, with `state` on its stdin, to its end. What it starts and leaves behind is not waited for.

    Args:
        timeout: in seconds, after which it is killed; 0 for none.
        outputs: descriptors of its stdout and stderr; -1 to keep the beginning of what it writes.

    Returns None when it exited with status 0. One that was killed has the error ETIMEDOUT.
    """
    try:
        pid, pidfd, output = shim.start_hook(path, args, env, state, outputs)
    except shim.HookError as error:
        return Result(error.errno or 0, error.call, 0, "")
    said = bytearray()
    ended = False
    try:
        ended = yield from _watch(pidfd, output, timeout, said)
    finally:
        if not ended:
            _kill(pid, pidfd)
        status = children.reap(pidfd)
        os.close(pidfd)
        os.close(output)
    text = said.partition(b"\0")[0].decode("utf-8", "replace")
    if not ended:
        return Result(errno.ETIMEDOUT, "execve", 0, text)
    return Result(0, "", status, text) if status else None  # what cannot be told counts as success


def _kill(pid: int, pidfd: int) -> None:
    signals.kill_and_wait(pidfd)  # it may have left its process group
    try:
        os.killpg(pid, signals.SIGKILL)
    except ProcessLookupError:
        return


def _watch(pidfd: int, output: int, timeout: float, said: bytearray) -> Steps[bool]:
    """Wait for the end, keeping the beginning of what the program says. False after `timeout`."""
    end = time.monotonic() + (timeout or _FAR)
    with select.epoll(flags=select.EPOLL_CLOEXEC) as poll:
        poll.register(pidfd, select.EPOLLIN)
        poll.register(output, select.EPOLLIN)
        while True:
            left = end - time.monotonic()
            if left <= 0:
                return False
            yield poll.fileno(), left
            ready = [fd for fd, _ in poll.poll(0)]
            # What it leaves behind may write without end, so the program itself is looked at in any case.
            if output in ready and not _keep(output, said) and pidfd not in ready:
                poll.unregister(output)
            if pidfd in ready:
                return True


def _keep(output: int, said: bytearray) -> bool:
    try:
        data = os.read(output, 4096)
    except BlockingIOError:
        return False
    said += data[: max(OUTPUT_MAX - len(said), 0)]
    return bool(data)
