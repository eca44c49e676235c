"""A seccomp agent: receives the container process state and the listener, and answers
notifications.

See config-linux.md, The Container Process State, and seccomp_unotify(2).
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

_NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # struct seccomp_notif
_RESPONSE = struct.Struct("=QqiI")  # struct seccomp_notif_resp


def _ioctl(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("!") << 8 | number


_RECEIVE = _ioctl(3, 0, _NOTIFICATION.size)
_SEND = _ioctl(3, 1, _RESPONSE.size)
_ID_VALID = _ioctl(1, 2, 8)
_CONTINUE = 1


class Notification(NamedTuple):
    """A system call that waits for an answer; `pid` as seen in the agent's pid namespace."""

    id: int
    pid: int
    number: int
    arch: int
    args: tuple[int, ...]


class Answer(NamedTuple):
    """What the call gives: `value`, or -1 with `error` (errno), or what the kernel makes of it."""

    value: int = 0
    error: int = 0
    proceed: bool = False


class Connection(NamedTuple):
    """What a runtime sent over one connection."""

    state: dict[str, Any]
    fds: dict[str, int]


class SeccompAgent:
    """An agent that serves any number of containers, each on a thread of its own.

    Attributes:
        connections: what was received so far, in order. The descriptors belong to the agent.
        notifications: all that was answered so far.
        failures: exceptions of the threads; `serve()` raises the first of them.
    """

    def __init__(self, path: Path, answer: Callable[[Notification], Answer]) -> None:
        self.path = path
        self.connections: list[Connection] = []
        self.notifications: list[Notification] = []
        self.failures: list[BaseException] = []
        self._answer = answer
        self._arrived = threading.Condition()
        self._stop_reader, self._stop_writer = os.pipe()
        self._threads: list[threading.Thread] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen()

    @contextmanager
    def serve(self) -> Iterator[SeccompAgent]:
        """Answer until the block ends."""
        self._start(self._accept)
        try:
            yield self
        finally:
            os.close(self._stop_writer)
            for thread in self._threads:
                thread.join()
            self._socket.close()
            os.close(self._stop_reader)
            for connection in self.connections:
                for fd in connection.fds.values():
                    os.close(fd)
            self.path.unlink()
        if self.failures:
            raise self.failures[0]

    def wait_for_connections(self, count: int, timeout: float = 10) -> list[Connection]:
        """The connections, once there are `count` of them.

        Raises:
            TimeoutError: fewer have come within `timeout` seconds.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.connections) >= count, timeout):
                raise TimeoutError(f"{len(self.connections)} of {count} connections")
            return list(self.connections)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        def guarded() -> None:
            try:
                target(*args)
            except BaseException as failure:  # serve() raises it
                self.failures.append(failure)

        thread = threading.Thread(target=guarded, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _readable(self, fd: int) -> bool:
        """Wait until `fd` can be read; False when the agent is to stop, or nobody is left to
        answer.
        """
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.register(self._stop_reader, select.POLLIN)
        return dict(poll.poll()).get(fd, 0) & select.POLLIN != 0

    def _accept(self) -> None:
        while self._readable(self._socket.fileno()):
            peer, _ = self._socket.accept()
            with peer:
                peer.settimeout(10)
                connection = _receive(peer)
            with self._arrived:
                self.connections.append(connection)
                self._arrived.notify_all()
            if "seccompFd" in connection.fds:
                self._start(self._notifications, connection.fds["seccompFd"])

    def _notifications(self, listener: int) -> None:
        while self._readable(listener):
            buffer = bytearray(_NOTIFICATION.size)
            try:
                fcntl.ioctl(listener, _RECEIVE, buffer)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR):  # the caller was killed meanwhile
                    continue
                raise
            id_, pid, _, number, arch, _, *args = _NOTIFICATION.unpack(buffer)
            notification = Notification(id_, pid, number, arch, tuple(args))
            self.notifications.append(notification)
            answer = self._answer(notification)
            flags = _CONTINUE if answer.proceed else 0
            try:
                fcntl.ioctl(listener, _ID_VALID, struct.pack("=Q", id_))
                fcntl.ioctl(
                    listener, _SEND, _RESPONSE.pack(id_, answer.value, -answer.error, flags)
                )
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise


def _receive(peer: socket.socket) -> Connection:
    """Everything up to the end of the stream; descriptors may come with the first message only."""
    data, fds, _, _ = socket.recv_fds(peer, 1 << 16, 16)
    payload = data
    while data:
        data, late, _, _ = socket.recv_fds(peer, 1 << 16, 16)
        if late:
            raise AssertionError("descriptors were sent after the first message")
        payload += data
    state = json.loads(payload)
    names = state.get("fds", [])
    if len(names) != len(fds):
        raise AssertionError(f"{len(fds)} descriptors, named {names}")
    return Connection(state, dict(zip(names, fds, strict=True)))
