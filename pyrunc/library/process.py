"""Processes in containers that this program has started."""

from __future__ import annotations

import errno
import io
import os
import select
import threading
import time
import weakref
from typing import IO, TYPE_CHECKING, TypeVar

from pyrunc.container.supervise import set_terminal_size
from pyrunc.errors import PyruncError, StateError, TimeoutExpired, UsageError
from pyrunc.host import children, signals
from pyrunc.host.signal_names import signal_number
from pyrunc.host.waiting import block, finish, until_readable

if TYPE_CHECKING:
    from pyrunc.host.waiting import Steps

Self = TypeVar("Self", bound="Process")

_CHUNK = 65536
_PIPE_BUF = 512  # bytes that a pipe takes without blocking when poll(2) says so (POSIX)

# Pidfds of children that nobody refers to any more; they are taken away when they have ended. There is no lock, as
# the garbage collector adds to it at any time: who has removed one from the list has it.
_abandoned: list[int] = []


# Processes that somebody refers to.
_living: weakref.WeakSet[BaseProcess] = weakref.WeakSet()


def reap_ended() -> None:
    """Take away all children that have ended; their exit codes are kept for whoever refers to them."""
    for process in list(_living):
        if process.exit_code is not None:
            _living.discard(process)
    reap_abandoned()


def reap_abandoned() -> None:
    """Take away children that have ended and that nobody refers to any more."""
    for pidfd in list(_abandoned):
        if block(pidfd, 0):
            try:
                _abandoned.remove(pidfd)
            except ValueError:
                continue
            children.reap(pidfd, wait=False)
            os.close(pidfd)


def is_awaited(pid: int) -> bool:
    """Whether somebody refers to this child and has not been told yet how it ended."""
    return any(
        process.pid == pid and not process._ended and process._pidfd >= 0
        for process in list(_living)
    )


def to_signal(signal: int | str) -> int:
    """The number of a signal, given as such or by name. Raises UsageError."""
    return signal_number(signal) if isinstance(signal, str) else int(signal)


class BaseProcess:
    """What a process is with and without an event loop.

    Attributes:
        pid: its pid, as this program sees it.
    """

    def __init__(self, pid: int, pidfd: int, terminal: int = -1) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._terminal = terminal
        self._lock = threading.Lock()
        self._ended = False
        self._exit_code: int | None = None
        _living.add(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} pid={self.pid} exit_code={self._exit_code}>"

    def fileno(self) -> int:
        """A pidfd (pidfd_open(2)) of the process: readable when it has ended. It is the `Process`'s own: leave it open.

        Raises:
            StateError: `close` was called.
        """
        if self._pidfd < 0:
            raise StateError(f"process {self.pid}: it was closed")
        return self._pidfd

    @property
    def exit_code(self) -> int | None:
        """Its exit code, 128 plus the number of the signal that ended it; None while it runs, and where nobody can
        tell."""
        if not self._ended and self._pidfd >= 0:
            finish(self._waiting(0))
        return self._exit_code

    def kill(self, signal: int | str = "TERM") -> None:
        """Send a signal. No error if the process has ended.

        Args:
            signal: its number, or a name such as "TERM" or "SIGKILL".

        Raises:
            UsageError: there is no such signal.
            PyruncError: the signal could not be sent.
        """
        number = to_signal(signal)
        if self._ended:
            return
        try:
            signals.send(self.fileno(), number)
        except ProcessLookupError:
            return
        except OSError as error:
            raise PyruncError(
                f"signal {number} to process {self.pid}: {error.strerror}", errno=error.errno or 0
            ) from None

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal, in characters; the process gets SIGWINCH (ioctl_tty(2), TIOCSWINSZ).

        Raises:
            UsageError: it has no terminal.
            PyruncError: nobody uses the terminal any more.
        """
        if self._terminal < 0:
            raise UsageError(f"process {self.pid}: it has no terminal")
        try:
            set_terminal_size(self._terminal, rows, columns)
        except OSError as error:
            raise PyruncError(f"resize: {error.strerror}", errno=error.errno or 0) from None

    def _waiting(self, timeout: float | None) -> Steps[bool]:
        """Wait for the end; whether it has come."""
        if self._ended:
            return True
        fd = self.fileno()
        if not (yield from until_readable(fd, timeout)):
            return False
        with self._lock:
            if not self._ended:
                status = children.reap(fd, wait=False)
                self._exit_code = None if status is None else children.exit_code(status)
                self._ended = True
        return True

    def _waiting_for_code(self, timeout: float | None) -> Steps[int]:
        if not (yield from self._waiting(timeout)):
            raise TimeoutExpired(f"process {self.pid}", timeout)
        if self._exit_code is None:
            raise StateError(
                f"process {self.pid} has ended; how, only the program that started it was told"
            )
        return self._exit_code

    def _let_go(self) -> None:
        """Close the terminal and the pidfd; a child that has not ended is taken away later."""
        with self._lock:
            fd, self._pidfd = self._pidfd, -1
            terminal, self._terminal = self._terminal, -1
        if terminal >= 0:
            os.close(terminal)
        if fd < 0:
            return
        if self._ended:
            os.close(fd)
            return
        _abandoned.append(fd)

    def __del__(self) -> None:
        if getattr(self, "_pidfd", -1) >= 0:
            self._let_go()


class Terminal(io.RawIOBase):
    """The master side of a pseudoterminal: reading takes what the process writes, writing is what it reads.

    The end of the last user of the terminal reads as the end of the file.
    """

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd

    def fileno(self) -> int:
        if self._fd < 0:
            raise ValueError("I/O operation on closed file")
        return self._fd

    def isatty(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = os.read(self.fileno(), len(buffer))
        except OSError as error:
            if error.errno == errno.EIO:
                return 0
            raise
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: bytes) -> int:  # type: ignore[override]
        return os.write(self.fileno(), data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            fd, self._fd = self._fd, -1
            os.close(fd)


class Process(BaseProcess):
    """A process in a container: the one that it was created for, or one by `Container.exec`.

    A context manager: at its end the process is killed if it runs, and what is held of it is let go.

    Attributes:
        pid: its pid, as this program sees it.
        stdin: a file to write to, where stdin is a PIPE or there is a terminal; else None.
        stdout: a file to read from, likewise.
        stderr: a file to read from, where stderr is a PIPE; else None.
    """

    def __init__(self, pid: int, pidfd: int, ends: list[int], terminal: int = -1) -> None:
        super().__init__(pid, pidfd, terminal)
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None
        self.stderr: IO[bytes] | None = None
        if terminal >= 0:
            self.stdin = self.stdout = Terminal(os.dup(terminal))  # type: ignore[assignment]
        if ends[0] >= 0:
            self.stdin = os.fdopen(ends[0], "wb")
        if ends[1] >= 0:
            self.stdout = os.fdopen(ends[1], "rb")
        if ends[2] >= 0:
            self.stderr = os.fdopen(ends[2], "rb")
        self._input: memoryview | None = None
        self._output: dict[int, bytearray] = {}

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Any number of threads may.

        Args:
            timeout: in seconds; None for no limit.

        Returns its exit code, or 128 plus the number of the signal that ended it.

        Raises:
            TimeoutExpired: it has not ended in time. It goes on.
            StateError: nobody can tell how it ended (see `Container.wait`).
        """
        return finish(self._waiting_for_code(timeout))

    def communicate(
        self, input: bytes | None = None, timeout: float | None = None
    ) -> tuple[bytes | None, bytes | None]:
        """Write to its stdin and close that, read its stdout and stderr to the end, and wait for it.

        Args:
            input: what it reads; stdin must be a PIPE or a terminal.
            timeout: in seconds; None for no limit.

        Returns what came from stdout and from stderr; None for what is not read here.

        Raises:
            UsageError: there is an input and no stdin for it.
            TimeoutExpired: it has not ended in time. Nothing is lost: call again, without an input.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if self.stdin is None and input:
            raise UsageError("communicate: there is an input, but stdin is no PIPE")
        if self._input is None:
            self._input = memoryview(input or b"")
        if not self._exchange(deadline) or not finish(self._waiting(_left(deadline))):
            error = TimeoutExpired(f"process {self.pid}", timeout)
            error.stdout, error.stderr = self._said(self.stdout), self._said(self.stderr)
            raise error
        return self._said(self.stdout), self._said(self.stderr)

    def _said(self, file: IO[bytes] | None) -> bytes | None:
        return None if file is None else bytes(self._output.get(id(file), b""))

    def _exchange(self, deadline: float | None) -> bool:
        """Copy until all output is read; False when the time is over."""
        poll = select.poll()
        readers: dict[int, IO[bytes]] = {}
        for file in (self.stdout, self.stderr):
            if file is not None and not file.closed:
                self._output.setdefault(id(file), bytearray())
                readers[file.fileno()] = file
                poll.register(file, select.POLLIN)
        writer = self.stdin if self.stdin is not None and not self.stdin.closed else None
        if writer is not None:
            writer.flush()
            both = select.POLLIN if writer is self.stdout else 0
            poll.register(writer, both | select.POLLOUT if self._input else both)
            writer = self._after_write(writer, poll)
        while readers or self._input:
            left = _left(deadline)
            if left is not None and left <= 0:
                return False
            for fd, events in poll.poll(None if left is None else left * 1000):
                if writer is not None and fd == writer.fileno() and events & ~select.POLLIN:
                    self._write_some(fd)
                    writer = self._after_write(writer, poll)
                if fd in readers and events & ~select.POLLOUT and not self._read_some(readers[fd]):
                    poll.unregister(fd)
                    del readers[fd]
                    if writer is not None and writer is self.stdout:
                        self._input, writer = memoryview(b""), None
        return True

    def _write_some(self, fd: int) -> None:
        assert self._input is not None
        try:
            self._input = self._input[os.write(fd, self._input[:_PIPE_BUF]) :]
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            self._input = memoryview(b"")  # nobody reads any more

    def _after_write(self, writer: IO[bytes], poll: select.poll) -> IO[bytes] | None:
        """Once all is written, close a pipe, and return None; a terminal goes on."""
        if self._input:
            return writer
        if writer is self.stdout:
            poll.modify(writer, select.POLLIN)
            return writer
        poll.unregister(writer)
        writer.close()
        return None

    def _read_some(self, file: IO[bytes]) -> bool:
        # what the file has in its buffer first
        data = file.read1(_CHUNK) if isinstance(file, io.BufferedReader) else file.read(_CHUNK)
        self._output[id(file)] += data or b""
        return bool(data)

    def close(self) -> None:
        """Close stdin, stdout, stderr and the pidfd. The process goes on."""
        for file in (self.stdin, self.stdout, self.stderr):
            if file is not None:
                try:
                    file.close()
                except BrokenPipeError:
                    continue
        self._let_go()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._pidfd >= 0 and not self._ended:
                self.kill("KILL")
                finish(self._waiting(None))
        finally:
            self.close()


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
