"""The runtime's side of the conversation with pyrunc-init (csrc/common/protocol.h)."""

from __future__ import annotations

import _socket
import os

from pyrunc.errors import OperationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrunc.plan.operation import Operation

SYNC = 1
CLONED = 2
READY = 3
ERROR = 4

_NO_OPERATION = 0xFFFFFFFF
_CALL = 16
_DETAIL = _CALL + 24
_SIZE = _DETAIL + 1024
_SOCK_SEQPACKET = 5
_ETIMEDOUT = 110
_SOL_SOCKET = 1
_SCM_RIGHTS = 1
_MSG_CMSG_CLOEXEC = 0x40000000
_MSG_NOSIGNAL = 0x4000


class Message:
    """One message of the init: see the enum in protocol.h."""

    __slots__ = ("call", "detail", "error", "fd", "operation", "type", "value")

    def __init__(self, data: bytes, fd: int) -> None:
        number = int.from_bytes
        self.type = number(data[0:4], "little")
        self.operation = number(data[4:8], "little")
        self.error = number(data[8:12], "little", signed=True)
        self.value = number(data[12:16], "little")
        self.call = data[_CALL:_DETAIL].rstrip(b"\0").decode("utf-8", "surrogateescape")
        self.detail = data[_DETAIL:].decode("utf-8", "surrogateescape")
        self.fd = fd


def pair() -> tuple[_socket.socket, _socket.socket]:
    """Two connected sockets, close-on-exec: the runtime's end and the init's."""
    return _socket.socketpair(_socket.AF_UNIX, _SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)


def listener(directory: str, name: str) -> _socket.socket:
    """A listening socket `name` in `directory`, however long its path is.

    Raises:
        OSError: it cannot be made.
    """
    sock = _socket.socket(_socket.AF_UNIX, _SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    with_short_path(directory, name, sock.bind)
    sock.listen(1)
    return sock


def connect(directory: str, name: str) -> _socket.socket:
    """A connection to such a socket. Raises OSError."""
    sock = _socket.socket(_socket.AF_UNIX, _SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    with_short_path(directory, name, sock.connect)
    return sock


def with_short_path(directory: str, name: str, use: object) -> None:
    """Call `use` with a path of the socket that fits into sun_path, of 108 bytes (unix(7))."""
    path = os.path.join(directory, name)
    if len(os.fsencode(path)) < 108:
        use(path)  # type: ignore[operator]
        return
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        use(f"/proc/self/fd/{fd}/{name}")  # type: ignore[operator]
    finally:
        os.close(fd)


def receive(sock: _socket.socket) -> Message | None:
    """The next message, or None at the end: the init executed the program, or died.

    Raises:
        OperationError: it is no message. Whoever may trace the init, in a pid namespace that is shared, can say
            anything.
    """
    while True:
        try:
            data, ancillary, _, _ = sock.recvmsg(_SIZE, 64, _MSG_CMSG_CLOEXEC)
            break
        except (InterruptedError, ConnectionResetError):
            # an init that died with an answer unread: what it had said before is still to come
            continue
    fd = -1
    for level, kind, payload in ancillary:
        if level == _SOL_SOCKET and kind == _SCM_RIGHTS:
            fd = int.from_bytes(payload[:4], "little", signed=True)
    if not data:
        return None
    message = Message(data, fd)
    if len(data) < _DETAIL or not SYNC <= message.type <= ERROR:
        raise nonsense(message)
    return message


def nonsense(message: Message) -> OperationError:
    """The error for a message that pyrunc-init does not send; closes its descriptor."""
    if message.fd >= 0:
        os.close(message.fd)
    return OperationError("pyrunc-init: unexpected message")


def send_plan(sock: _socket.socket, plan: int, slots: Sequence[int]) -> None:
    """Send the plan and what its slots are filled with; a slot that is -1 stays empty. Raises OSError."""
    kinds = b"P\xff"
    fds = plan.to_bytes(4, "little")
    for slot, fd in enumerate(slots):
        if fd >= 0:
            kinds += slot.to_bytes(1, "little")
            fds += fd.to_bytes(4, "little")
    sock.sendmsg([kinds], [(_SOL_SOCKET, _SCM_RIGHTS, fds)], _MSG_NOSIGNAL)


def reply(sock: _socket.socket, state: bytes = b"") -> None:
    """Let the init go on, with the container's state for its hooks. Raises OSError when it has died."""
    sock.send(b"G" + state, _MSG_NOSIGNAL)


def failure(message: Message, operations: list[Operation], source: str) -> OperationError:
    """The error that the init reported, in words; `source` is the document that pointers lead into."""
    index = message.operation
    if index == _NO_OPERATION:
        return describe_failure(message, "/linux/namespaces", "new namespaces", source)
    if index >= len(operations):
        return describe_failure(message, "", f"operation {index}", source)
    operation = operations[index]
    error = describe_failure(message, operation.pointer, operation.describe(), source)
    error.index = index
    return error


#: What the kernel leaves unsaid of a mount, by system call and error number.
_MOUNT_HINTS = {
    ("open_tree", 2): ": what is bind mounted has to be there already",
    ("fsopen", 19): ": the kernel has no such filesystem, or its module is not loaded",
}


#: The same of mounts of a container that runs, whose pointers lead into a document of their own.
_LIVE_HINTS = {
    **_MOUNT_HINTS,
    ("open_tree", 1): ": it takes root to open what is mounted on the host",
    ("umount2", 22): ": nothing is mounted there",
    ("openat2", 40): ": a symbolic link is on the way; give the path that it leads to",
}


def describe_failure(
    message: Message, pointer: str, operation: str, source: str = "config.json"
) -> OperationError:
    """Word an error: which operation, which system call, why, and what in config.json asked for it."""
    if message.call == "hook":
        path, call, output = message.detail.split("\n", 2)
        why = hook_failure(message.error, call, message.value, output)
        text = f"{label(pointer)}: {path} {why}"
    elif message.call == "execve":
        text = exec_failure(message.detail, message.error)
    elif message.detail.endswith("attr/apparmor/exec") and message.error == 2:
        profile = operation.partition(" = exec ")[2]
        text = f"{label(pointer)}: AppArmor profile {profile} is not loaded"
    else:
        text = f"{label(pointer) or operation}: {message.call}"
        if message.detail:
            text += f" {message.detail}"
        if message.error:
            text += f": {os.strerror(message.error)}"
            failed = (message.call, message.error)
            if pointer.startswith("/mounts/"):
                text += _MOUNT_HINTS.get(failed, "")
            elif pointer[1:].isdigit():
                text += _LIVE_HINTS.get(failed, "")
    if pointer:
        text += f" ({source}: {pointer})"
    return OperationError(text, pointer=pointer or None, errno=message.error, operation=operation)


def hook_failure(error: int, call: str, status: int, output: str) -> str:
    """Word how a hook failed: errno `error` of `call`, or its wait `status`, and what it printed."""
    if error == _ETIMEDOUT:
        why = "was killed: it did not end within its timeout"
    elif error:
        why = f"{call}: {os.strerror(error)}"
    else:
        why = wait_status(status)
    return f"{why}: {output.strip()}" if output.strip() else why


_EXEC_HINTS = {
    2: ": it, or the interpreter or loader that it needs, is not in the root filesystem",
    8: ": it is not a program for this machine, nor a script with #! and an interpreter",
    13: ": it has to be a file with the right to be executed, as has its interpreter",
}


def exec_failure(program: str, error: int) -> str:
    """Word the failure of execve(2) so that engines, who look for these words, tell 126 from 127."""
    if error == 2 and "/" not in program:
        return f'exec: "{program}": executable file not found in $PATH'
    reason = os.strerror(error)
    hint = _EXEC_HINTS.get(error, "")
    return f'exec: "{program}": {reason[:1].lower() + reason[1:]}{hint}'


def wait_status(status: int) -> str:
    """A wait status (wait(2)) in words."""
    code = os.waitstatus_to_exitcode(status)
    return f"was killed by signal {-code}" if code < 0 else f"exited with status {code}"


def label(pointer: str) -> str:
    """A JSON pointer as a person writes it: /mounts/3 as mounts[3]."""
    text = ""
    for token in pointer.split("/")[1:]:
        part = token.replace("~1", "/").replace("~0", "~")
        text += f"[{part}]" if part.isdigit() else f".{part}" if text else part
    return text
