"""What happens to a container: its statistics at intervals, and processes killed for want of memory."""

from __future__ import annotations

import os
import select
import time

from pyrunc import log
from pyrunc.errors import CgroupError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cgroups.oom import OomEvents
    from pyrunc.container.container import Container


class EventSource:
    """The events of one container, for a loop that waits for them. A context manager.

    Attributes:
        ended: the container process has ended: no event will come any more.
        due: when the next statistics are, on the clock of time.monotonic(); infinity for never.
    """

    def __init__(self, container: Container, interval: float | None) -> None:
        """Watch; `interval` is the time between statistics in seconds, None for none of them.

        Raises:
            StateError: the container is stopped.
        """
        self.ended = False
        self.due = float("inf") if interval is None else time.monotonic() + interval
        self._interval = interval or 0.0
        self._container = container
        self._oom: OomEvents | None = None
        try:
            self._pidfd = container.open_pidfd()
        except StateError:
            raise StateError(f"container {container.id} has no events: it is stopped") from None
        self._poll = select.epoll(flags=select.EPOLL_CLOEXEC)
        self._poll.register(self._pidfd, select.EPOLLIN)
        try:
            self._oom = container.cgroup.oom_events()
            self._poll.register(self._oom.fileno(), select.EPOLLIN)
        except CgroupError as error:
            log.warning(f"events: no out-of-memory events: {error}")

    def __enter__(self) -> EventSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop watching."""
        if self._oom is not None:
            self._oom.close()
            self._oom = None
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        self._poll.close()

    def fileno(self) -> int:
        """A descriptor that is readable when `take` has something to tell, beside what is due."""
        return self._poll.fileno()

    def take(self) -> list[tuple[str, dict[str, Any] | None]]:
        """What has happened since the last call: type and data of each event, as `runc events` has them.

        Raises:
            CgroupError: the statistics cannot be read.
        """
        events: list[tuple[str, dict[str, Any] | None]] = []
        ready = [fd for fd, _ in self._poll.poll(0)]
        if self._oom is not None and self._oom.fileno() in ready:
            count = self._oom.read()
            events += [("oom", None)] * (count or 0)
            if count is None:
                self._poll.unregister(self._oom.fileno())
                self._oom.close()
                self._oom = None
        self.ended = self._pidfd in ready
        if not self.ended and time.monotonic() >= self.due:
            events.append(("stats", self._container.stats()))
            self.due += self._interval
        return events
