"""sd_notify(3) for containers: what a program reports goes on to the service manager, as with runc.

The manager of the caller names its socket in $NOTIFY_SOCKET. The container gets a socket of its own instead, in a
directory of the state that is bind mounted on /run/notify, and what comes there is passed on by the process that the
manager knows: `start` and a detached `run` until the program is ready, a `run` in the foreground until it ends.
"""

from __future__ import annotations

import _socket
import os
import select
import time

from pyrunc import log
from pyrunc.container.channel import with_short_path
from pyrunc.container.store import NOTIFY
from pyrunc.errors import UsageError
from pyrunc.spec.loader import Bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from pyrunc.container.container import Container

_SOCKET = "notify.sock"
_MOUNT_POINT = "/run/notify"
_OPTIONS = ["bind", "nosuid", "noexec", "nodev", "ro"]
_SIZE = 65536
_BARRIER_TIMEOUT = 30.0  # seconds; a manager without barriers never answers


def with_socket(bundle: Bundle, state_directory: str) -> Bundle:
    """The bundle with the mount of the socket's directory and $NOTIFY_SOCKET, for the plan."""
    config: dict[str, Any] = dict(bundle.config)
    mount = {
        "destination": _MOUNT_POINT,
        "source": os.path.join(state_directory, NOTIFY),
        "options": _OPTIONS,
    }
    config["mounts"] = [*(config.get("mounts") or ()), mount]
    process = config.get("process")
    if process:
        env = [*(process.get("env") or ()), f"NOTIFY_SOCKET={_MOUNT_POINT}/{_SOCKET}"]
        config["process"] = {**process, "env": env}
    return Bundle(bundle.path, config, bundle.rootfs)


class NotifySocket:
    """The container's socket, while somebody listens on it; a context manager.

    Attributes:
        ready: the program has said that it is.
    """

    def __init__(self, container: Container, manager: str) -> None:
        """
        Args:
            container: one that was created with `CreateOptions.notify_socket`.
            manager: address of the service manager's socket; "@" begins an abstract one.

        Raises:
            UsageError: the service manager cannot be reached.
        """
        self.ready = False
        self._manager = _datagram()
        self._socket = _datagram()
        directory = container.store.path_of(NOTIFY)
        try:
            try:
                if manager.startswith("@"):
                    self._manager.connect(b"\0" + os.fsencode(manager[1:]))
                else:
                    with_short_path(*os.path.split(os.path.abspath(manager)), self._manager.connect)
            except OSError as error:
                raise UsageError(
                    f"NOTIFY_SOCKET={manager}: {error.strerror}", errno=error.errno or 0
                ) from None
            path = os.path.join(directory, _SOCKET)
            if os.path.exists(path):
                os.unlink(path)  # of a `start` that was killed
            with_short_path(directory, _SOCKET, self._socket.bind)
            os.chmod(path, 0o777)  # whatever user the program runs as
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> NotifySocket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._manager.close()
        self._socket.close()

    def fileno(self) -> int:
        """To be polled for input."""
        return self._socket.fileno()

    def wait(self, pid: int, pidfd: int) -> None:
        """Wait until the program is ready, tell the manager, and that `pid` is the service now.

        Returns as well when the process of `pidfd` ends before that.
        """
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        poll.register(pidfd, select.POLLIN)
        while not self.ready:
            found = [fd for fd, _ in poll.poll()]
            if self.fileno() in found:
                for line in self._receive():
                    if line.startswith(b"READY=") and not self.ready:
                        self._ready(line, pid)
            elif pidfd in found:
                return
        self._barrier()

    def forward(self) -> None:
        """Pass on one message, in the foreground: the caller is and stays the service."""
        lines = [line for line in self._receive() if not line.startswith((b"MAINPID", b"BARRIER="))]
        for line in lines:
            if line.startswith(b"READY=") and not self.ready:
                self._ready(line, os.getpid())
                lines.remove(line)
                break
        if lines:
            self._send(b"\n".join(lines))

    def _receive(self) -> list[bytes]:
        """The lines of a message. Descriptors that came with it are closed, as a barrier asks for."""
        data, ancillary, _, _ = self._socket.recvmsg(_SIZE, 1024, 0x40000000)  # MSG_CMSG_CLOEXEC
        for level, kind, payload in ancillary:
            if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
                for index in range(0, len(payload) - 3, 4):
                    os.close(int.from_bytes(payload[index : index + 4], "little"))
        return [line for line in data.split(b"\n") if line]

    def _ready(self, line: bytes, pid: int) -> None:
        self.ready = True
        self._send(line + b"\n")
        self._send(b"MAINPID=%d\n" % pid)

    def _send(self, message: bytes) -> None:
        try:
            self._manager.send(message)
        except OSError as error:
            log.warning(f"NOTIFY_SOCKET: cannot pass on {message!r}: {error.strerror}")

    def _barrier(self) -> None:
        """Wait until the manager has read all: it may ask who we are, and we are about to exit.

        Source: sd_notify_barrier(3).
        """
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, theirs.to_bytes(4, "little"))
        try:
            self._manager.sendmsg([b"BARRIER=1"], [rights])
        except OSError as error:
            log.warning(f"NOTIFY_SOCKET: {error.strerror}")
            return
        finally:
            os.close(theirs)
        poll = select.poll()
        poll.register(ours, 0)
        deadline = time.monotonic() + _BARRIER_TIMEOUT
        while not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            if time.monotonic() >= deadline:
                log.warning("NOTIFY_SOCKET: the service manager did not answer the barrier")
                break
        os.close(ours)


def _datagram() -> _socket.socket:
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)


def start_and_notify(container: Container, manager: str) -> None:
    """Start a container; return when its program has reported that it is ready.

    Raises what `Container.start` does, and UsageError: the manager cannot be reached; it is not started then.
    """
    with NotifySocket(container, manager) as notify:
        pidfd = container.open_pidfd()
        try:
            container.start()
            notify.wait(container.state["pid"], pidfd)
        finally:
            os.close(pidfd)
