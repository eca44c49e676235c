"""Waiting, kept apart from what is waited for.

An operation that may have to wait is a generator: it yields what it waits for, `(fd, seconds)`, and is sent whether
`fd` became readable in that time. So one operation serves programs that block (`finish`) and event loops
(`pyrunc.aio`), which wait for many at once.

`fd` is -1 for a pause. `seconds` is FOREVER when the operation's next system call waits by itself: then `finish` has
nothing to do, and an event loop waits until that call would not block.
"""

from __future__ import annotations

import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import TypeAlias, TypeVar

    T = TypeVar("T")
    Wait: TypeAlias = tuple[int, float]
    Steps: TypeAlias = Generator[Wait, bool, T]

FOREVER = -1.0

_POLLIN = 1
_FAR = 1e6  # poll(2) has an int of milliseconds


def finish(steps: Steps[T]) -> T:
    """Carry an operation to its end, waiting in this thread. Returns and raises what it does."""
    try:
        fd, seconds = next(steps)
        while True:
            try:
                ready = seconds == FOREVER or block(fd, seconds)
            except BaseException as error:  # KeyboardInterrupt: the operation cleans up
                fd, seconds = steps.throw(error)
            else:
                fd, seconds = steps.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result


def block(fd: int, seconds: float) -> bool:
    """Wait in this thread until `fd` is readable. False when it is not in `seconds`."""
    if fd < 0:
        time.sleep(seconds)
        return False
    poll = select.poll()
    poll.register(fd, _POLLIN)
    return len(poll.poll(max(0.0, min(seconds, _FAR)) * 1000)) > 0


def until_readable(fd: int, timeout: float | None) -> Steps[bool]:
    """Wait until `fd` (a pidfd, for the end of its process) is readable.

    Args:
        fd: a descriptor that can be polled.
        timeout: in seconds; None for no limit.

    Returns whether it is.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = _FAR if deadline is None else deadline - time.monotonic()
        if (yield fd, max(0.0, left)):
            return True
        if deadline is not None and time.monotonic() >= deadline:
            return False
