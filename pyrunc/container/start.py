"""`start`: the waiting init goes on to the program (runtime.md, "Start")."""

from __future__ import annotations

import os

from pyrunc.container import channel
from pyrunc.container.container import Container, state_document, wrong_status
from pyrunc.container.store import START_SOCKET
from pyrunc.errors import HookError, OperationError, StateError
from pyrunc.host import procfs, signals
from pyrunc.host.waiting import FOREVER
from pyrunc.spec.json import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any

    from pyrunc.host.waiting import Steps

SIGKILL = 9
LAST_WORDS = 1.0  # seconds


def starting(container: Container) -> Steps[None]:
    """See `Container.start`."""
    try:
        yield from _starting(container)
    except (HookError, OperationError) as error:
        # runtime.md, "Lifecycle", steps 7 and 9: on with the steps of `delete`
        if (error.pointer or "").startswith("/hooks/"):
            yield from container.deleting(force=True)
        raise


def _starting(container: Container) -> Steps[None]:
    with (yield from container.locking()) as store:
        state = container.state
        try:
            pidfd = container.open_pidfd()
        except StateError:
            raise wrong_status("start", container.id, container.status) from None
        try:
            if not os.path.exists(store.path_of(START_SOCKET)):
                raise wrong_status("start", container.id, container.status)
            if not state["hasProcess"]:
                signals.kill_and_wait(pidfd)
                raise StateError(
                    f"cannot start container {container.id}: config.json has no process"
                    " (config.json: /process)"
                )
            config: dict[str, Any] = store.read_config() if needs_config(state) else {}
            try:
                connection = channel.connect(store.path, START_SOCKET)
                # from here on the container counts as started: an init whose starter dies, dies
                os.unlink(store.path_of(START_SOCKET))
            except OSError as error:
                raise OperationError(
                    f"cannot start container {container.id}: {error.strerror}",
                    errno=error.errno or 0,
                ) from None
            try:
                yield from _converse(container, connection, config, pidfd)
            except BaseException:
                signals.kill_and_wait(pidfd)
                raise
            finally:
                connection.close()
            yield from _poststart(container, config)
        finally:
            os.close(pidfd)


def needs_config(state: dict[str, Any]) -> bool:
    """Something that comes after the start is described only in the configuration."""
    return bool(state["hasHooks"] or state.get("hasListener"))


def _converse(
    container: Container, connection: _socket.socket, config: dict[str, Any], pidfd: int
) -> Steps[None]:
    state = container.state
    hook_state = b""
    if (config.get("hooks") or {}).get("startContainer"):
        document = state_document(state, "created")
        document["pid"] = procfs.innermost_pid(state["pid"])
        hook_state = dumps(document).encode()
    try:
        channel.reply(connection, hook_state)
        while True:
            yield connection.fileno(), FOREVER
            message = channel.receive(connection)
            if message is None:
                return
            if message.type == channel.ERROR:
                pointer, operation = state["late"].get(str(message.operation), ["", "the start"])
                yield pidfd, LAST_WORDS  # it ends by itself, with the exit code for that
                raise channel.describe_failure(message, pointer, operation)
            if message.type != channel.SYNC or message.fd < 0:
                raise channel.nonsense(message)
            # the one sync point behind the start: a seccomp listener to be handed on
            from pyrunc.container.listener import send_listener

            send_listener(config, state_document(state, "creating"), message.fd)
            channel.reply(connection)
    except OSError as error:
        raise OperationError(
            f"cannot start container {container.id}: {error.strerror}", errno=error.errno or 0
        ) from None


def _poststart(container: Container, config: dict[str, Any]) -> Steps[None]:
    if not (config.get("hooks") or {}).get("poststart"):
        return
    from pyrunc.container.hooks import run_hooks

    state = dumps(state_document(container.state, "running")).encode()
    yield from run_hooks(config, "poststart", state)
