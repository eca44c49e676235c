"""Watch a cgroup for processes killed for want of memory."""

from __future__ import annotations

import os
import select

from pyrunc.cgroups.files import failure
from pyrunc.host.files import write_text

_EFD_CLOEXEC = 0o2000000


class OomEvents:
    """What `Cgroup.oom_events` gives: a descriptor to poll, and what has happened.

    A context manager; it is closed at the end.
    """

    def fileno(self) -> int:
        """A file descriptor that is readable when `read` has something to tell."""
        raise NotImplementedError

    def read(self) -> int | None:
        """How often it has happened since the last call; may wait if `fileno` is not readable.

        0 is for something else that happened to the cgroup's memory.

        None: the cgroup is gone or, with v2, has no process any more.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Stop watching."""
        raise NotImplementedError

    def __enter__(self) -> OomEvents:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class V1OomEvents(OomEvents):
    """By an eventfd (the kernel's cgroup-v1/memory.rst, section 10). Raises CgroupError."""

    def __init__(self, directory: str) -> None:
        self._control = f"{directory}/cgroup.event_control"
        self._event = os.eventfd(0, _EFD_CLOEXEC)
        try:
            watched = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            try:
                write_text(self._control, f"{self._event} {watched}")
            finally:
                os.close(watched)
        except OSError as error:
            os.close(self._event)
            raise failure(f"watch {directory}/memory.oom_control", error) from error

    def fileno(self) -> int:
        return self._event

    def read(self) -> int | None:
        count = os.eventfd_read(self._event)
        # The removal of the cgroup is signalled in the same way.
        return count if os.path.exists(self._control) else None

    def close(self) -> None:
        os.close(self._event)


class V2OomEvents(OomEvents):
    """By polling memory.events and cgroup.events (cgroup-v2.rst). Raises CgroupError."""

    def __init__(self, directory: str) -> None:
        self._fds: list[int] = []
        self._poll = select.epoll(flags=select.EPOLL_CLOEXEC)
        try:
            for name in ("memory.events", "cgroup.events"):
                fd = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC)
                self._fds.append(fd)
                self._poll.register(fd, select.EPOLLPRI)
            self._seen = self._value(self._fds[0], "oom_kill")
            self._value(self._fds[1], "populated")
        except OSError as error:
            self.close()
            raise failure(f"watch {directory}/memory.events", error) from error

    @staticmethod
    def _value(fd: int, name: str) -> int:
        # Reading from the start also takes back the readiness that the last event gave.
        for line in os.pread(fd, 4096, 0).decode().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
        return 0

    def fileno(self) -> int:
        return self._poll.fileno()

    def read(self) -> int | None:
        self._poll.poll()
        try:
            killed = self._value(self._fds[0], "oom_kill")
            populated = self._value(self._fds[1], "populated")
        except OSError:  # ENODEV: the cgroup was removed
            return None
        new, self._seen = killed - self._seen, killed
        return new if new or populated else None

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._poll.close()
