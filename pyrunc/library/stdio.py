"""What becomes the standard descriptors of a process in a container."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol, TypeAlias

from pyrunc.container.session import close_all
from pyrunc.errors import UsageError


class HasFileno(Protocol):
    """An open file, socket or other object with a descriptor."""

    def fileno(self) -> int:
        """The descriptor."""


#: A new pipe, whose other end is in the `Process`. The numbers are those of `subprocess`.
PIPE = -1
#: For stderr: where stdout goes.
STDOUT = -2
#: /dev/null.
DEVNULL = -3

#: A choice for one standard descriptor: None is that of this program, an int PIPE, STDOUT, DEVNULL or a descriptor.
Stdio: TypeAlias = int | HasFileno | None


class Streams:
    """The standard descriptors of one process: its ends and ours. All are close-on-exec.

    Attributes:
        theirs: what becomes descriptors 0, 1, 2 and so on of the process.
        ours: our ends of the pipes for stdin, stdout and stderr; -1 for none.
    """

    def __init__(
        self, stdin: Stdio, stdout: Stdio, stderr: Stdio, pass_fds: Sequence[int] = ()
    ) -> None:
        """Open what is to be opened.

        Raises:
            UsageError: a descriptor is not open, or a choice is none.
            OSError: no descriptors are left.
        """
        self.theirs: list[int] = []
        self.ours = [-1, -1, -1]
        self._opened: list[int] = []
        try:
            for number, name in enumerate(("stdin", "stdout", "stderr")):
                self.theirs.append(self._end(number, name, (stdin, stdout, stderr)[number]))
            for fd in pass_fds:
                self.theirs.append(_checked("pass_fds", fd))
        except BaseException:
            self.close()
            raise

    def _end(self, number: int, name: str, choice: Stdio) -> int:
        if choice is None:
            return _checked(name, number)
        if not isinstance(choice, int):
            return _checked(name, choice.fileno())
        if choice >= 0:
            return _checked(name, choice)
        if choice == PIPE:
            reader, writer = os.pipe2(os.O_CLOEXEC)
            self.ours[number], end = (writer, reader) if number == 0 else (reader, writer)
        elif choice == DEVNULL:
            end = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        elif choice == STDOUT and number == 2:
            return self.theirs[1]
        else:
            raise UsageError(f"{name}: {choice} is neither a descriptor nor PIPE, STDOUT, DEVNULL")
        self._opened.append(end)
        return end

    def close_theirs(self) -> None:
        """Close what was opened for the process, once it has it."""
        close_all(self._opened)
        self._opened = []

    def close(self) -> None:
        """Close all that was opened."""
        self.close_theirs()
        close_all(self.ours)
        self.ours = [-1, -1, -1]


def _checked(name: str, fd: int) -> int:
    try:
        os.fstat(fd)
    except OSError:
        raise UsageError(f"{name}: descriptor {fd} is not open") from None
    return fd
