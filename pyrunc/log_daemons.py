"""Records for the journal and for syslog: `--log journald:NAME` and `--log syslog:NAME`.

Sources: syslog(3), RFC 3164, and the journal's native protocol (systemd, "Native Journal Protocol").
"""

from __future__ import annotations

import _socket
import os

from pyrunc.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

JOURNAL = "/run/systemd/journal/socket"
SYSLOG = "/dev/log"

#: Numbers of syslog(3).
_PRIORITIES = {"error": 3, "warning": 4, "info": 6, "debug": 7}
_LOG_DAEMON = 3 << 3


def journald(name: str, path: str = JOURNAL) -> Callable[[str, str], None]:
    """A sink for `log.redirect` that writes to the journal, as the program `name`.

    Raises:
        UsageError: nobody listens at `path`.
    """
    send = _connect("journald", name, path)

    def sink(level: str, message: str) -> None:
        data = message.encode("utf-8", "surrogateescape")
        fields = f"PRIORITY={_PRIORITIES[level]}\nSYSLOG_IDENTIFIER={name}\nMESSAGE\n".encode()
        # with its length before it, a value may have several lines
        send(fields + len(data).to_bytes(8, "little") + data + b"\n")

    return sink


def syslog(name: str, path: str = SYSLOG) -> Callable[[str, str], None]:
    """The same for syslog."""
    send = _connect("syslog", name, path)

    def sink(level: str, message: str) -> None:
        tag = f"<{_LOG_DAEMON | _PRIORITIES[level]}>{name}[{os.getpid()}]: "
        send((tag + message).encode("utf-8", "surrogateescape"))

    return sink


def _connect(kind: str, name: str, path: str) -> Callable[[bytes], None]:
    if not name or "\n" in name:
        raise UsageError(f"--log {kind}:{name}: needs a name for the records, as {kind}:web")
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        sock.connect(path)
    except OSError as error:
        sock.close()
        raise UsageError(
            f"--log {kind}:{name}: {path}: {error.strerror}", errno=error.errno or 0
        ) from None

    def send(data: bytes) -> None:
        try:
            sock.send(data, _socket.MSG_NOSIGNAL)
        except OSError:  # as with a full disk: it must not fail the command that reports
            return

    return send
