"""Handing a seccomp listener to its agent (config-linux.md, "Seccomp", "The Container Process State")."""

from __future__ import annotations

import os

from pyrunc.errors import OperationError
from pyrunc.spec.json import dumps
from pyrunc.spec.version import OCI_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def send_listener(
    config: dict[str, Any], state: dict[str, Any], fd: int, pid: int | None = None
) -> None:
    """Send the container process state and the listener to `listenerPath`; closes `fd`.

    Args:
        config: the container's configuration.
        state: the container's state document.
        fd: the listener.
        pid: the process that it listens to, if not the container process.

    Raises:
        OperationError: the agent cannot be reached.
    """
    import _socket

    seccomp = (config.get("linux") or {}).get("seccomp") or {}
    path = seccomp.get("listenerPath") or ""
    document: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "fds": ["seccompFd"],
        "pid": state["pid"] if pid is None else pid,
        "state": state,
    }
    if seccomp.get("listenerMetadata"):
        document["metadata"] = seccomp["listenerMetadata"]
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        from pyrunc.container.channel import with_short_path

        directory, name = os.path.split(path)
        with_short_path(directory, name, sock.connect)
        ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(4, "little"))]
        sock.sendmsg([dumps(document).encode()], ancillary)
    except OSError as error:
        raise OperationError(
            f"seccomp agent at {path}: {error.strerror} (config.json: /linux/seccomp/listenerPath)",
            errno=error.errno or 0,
            pointer="/linux/seccomp/listenerPath",
        ) from None
    finally:
        sock.close()
        os.close(fd)
