"""`run`: create, start, and in the foreground wait and delete."""

from __future__ import annotations

import os

from pyrunc.container.creation import CreateOptions, create
from pyrunc.container.supervise import Supervisor, receive_master
from pyrunc.errors import NotFoundError
from pyrunc.host import shim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.container.container import Container
    from pyrunc.spec.loader import Bundle


def run(root: str, container_id: str, bundle: Bundle, options: CreateOptions) -> int:
    """Run a container.

    Returns the exit code of its program, 128 plus the signal if one ended it; 0 when detached.

    Raises:
        PyruncError: it could not be created or started; nothing is left of it.
    """
    if options.detach:
        container = create(root, container_id, bundle, options)
        try:
            if options.notify_socket:
                from pyrunc.container.notify import start_and_notify

                start_and_notify(container, options.notify_socket)
            else:
                container.start()
        except BaseException:
            delete_if_there(container)
            raise
        return 0
    if not options.no_subreaper:
        shim.set_subreaper()
    terminal = bool((bundle.config.get("process") or {}).get("terminal"))
    ours = None
    if terminal and not options.console_socket:
        import _socket

        ours, theirs = _socket.socketpair()
        options.console_fd = theirs.fileno()
    container = create(root, container_id, bundle, options)
    try:
        master = -1
        if ours is not None:
            theirs.close()
            master = receive_master(ours)
            ours.close()
        pidfd = container.open_pidfd()
        pid = container.state["pid"]
        with Supervisor(master) as supervisor:
            if options.notify_socket:
                from pyrunc.container.notify import NotifySocket

                notify = NotifySocket(container, options.notify_socket)
                supervisor.watch(notify.fileno(), notify.forward)
            container.start()
            code = supervisor.wait(pid, pidfd)
        os.close(pidfd)
    except BaseException:
        delete_if_there(container)
        raise
    if not options.keep:
        delete_if_there(container)
    return code


def delete_if_there(container: Container) -> None:
    """Delete a container that has ended: unless a failing hook of its start, or a checkpoint, has had it deleted."""
    try:
        container.delete(force=True)
    except NotFoundError:
        return
