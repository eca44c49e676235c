"""What can be said about each process that is started, of a new container or beside it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypedDict

    class ProcessWords(TypedDict, total=False):
        """The arguments of `ProcessOptions`."""

        pid_file: str
        console_socket: str
        console_fd: int
        pidfd_socket: str
        preserve_fds: int
        stdio: Sequence[int]
        rootless: str


class ProcessOptions:
    """What `create` and `exec` have in common.

    Attributes:
        pid_file: file that the pid is written to, or "".
        console_socket: AF_UNIX socket that the master of the terminal is sent to, or "".
        console_fd: a connected socket for the same, or -1.
        pidfd_socket: AF_UNIX socket that a pidfd of the process is sent to, or "".
        preserve_fds: number of descriptors from 3 on that the program gets.
        stdio: what becomes the program's stdin, stdout, stderr, and then its preserved descriptors.
        rootless: "auto", "true" or "false".
    """

    def __init__(
        self,
        *,
        pid_file: str = "",
        console_socket: str = "",
        console_fd: int = -1,
        pidfd_socket: str = "",
        preserve_fds: int = 0,
        stdio: Sequence[int] = (0, 1, 2),
        rootless: str = "auto",
    ) -> None:
        self.pid_file = pid_file
        self.console_socket = console_socket
        self.console_fd = console_fd
        self.pidfd_socket = pidfd_socket
        self.preserve_fds = preserve_fds
        self.stdio = stdio
        self.rootless = rootless
