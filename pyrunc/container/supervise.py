"""In the foreground: waits for a process, passes signals on to it, and carries its terminal."""

from __future__ import annotations

import fcntl
import os
import select
import sys

from pyrunc.host import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from types import FrameType
    from typing import Any
else:
    import _signal

#: Signals that are about this process itself, or cannot be caught.
_NOT_PASSED_ON = (
    signals.SIGKILL,
    signals.SIGSTOP,
    signals.SIGCHLD,
    signals.SIGURG,
    signals.SIGPIPE,
    signals.SIGWINCH,
)
_POLLIN, _POLLOUT = 1, 4
_CHUNK = 65536
_TIOCGWINSZ, _TIOCSWINSZ = 0x5413, 0x5414


def _ignore(signum: int, frame: FrameType | None) -> None:
    """The wakeup descriptor has the signal."""


class Supervisor:
    """Signals and the terminal of one process in the foreground.

    A context manager: from its beginning signals are caught and kept for the process, at its end everything is as
    it was. Make it before the process is started, so that no signal is lost.
    """

    def __init__(self, master: int = -1) -> None:
        self.master = master
        self._before: dict[int, Any] = {}
        self._wake_read = self._wake_write = -1
        self._terminal: list[Any] | None = None
        self._input = b""
        self._watched: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, read: Callable[[], None]) -> None:
        """Call `read` whenever there is something to read from `fd`."""
        self._watched[fd] = read

    def __enter__(self) -> Supervisor:
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # a signal too many is not worth a traceback: the process is watched by its pidfd too
        self._old_wake = _signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in range(1, 65):
            if number in _NOT_PASSED_ON and number not in (signals.SIGCHLD, signals.SIGWINCH):
                continue
            try:
                self._before[number] = _signal.signal(number, _ignore)
            except (OSError, ValueError):  # the C library keeps some for itself
                continue
        if self.master >= 0:
            self._raw_terminal()
            self.resize()
        return self

    def __exit__(self, *_: object) -> None:
        self._restore_terminal()
        for number, handler in self._before.items():
            _signal.signal(number, handler if handler is not None else _signal.SIG_DFL)
        _signal.set_wakeup_fd(self._old_wake)
        os.close(self._wake_read)
        os.close(self._wake_write)

    # ---- terminal -----------------------------------------------------------------------------

    def _raw_terminal(self) -> None:
        os.set_blocking(self.master, False)
        if not os.isatty(0):
            return
        import termios

        self._terminal = termios.tcgetattr(0)
        raw = termios.tcgetattr(0)
        raw[0] &= ~(
            termios.IGNBRK
            | termios.BRKINT
            | termios.PARMRK
            | termios.ISTRIP
            | termios.INLCR
            | termios.IGNCR
            | termios.ICRNL
            | termios.IXON
        )
        raw[1] &= ~termios.OPOST
        raw[2] = raw[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        raw[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        termios.tcsetattr(0, termios.TCSANOW, raw)

    def _restore_terminal(self) -> None:
        if self._terminal is not None:
            import termios

            termios.tcsetattr(0, termios.TCSANOW, self._terminal)
            self._terminal = None

    def resize(self) -> None:
        """Give the container's terminal the size of ours."""
        if self.master < 0:
            return
        size = terminal_size()
        if size is not None:
            try:
                set_terminal_size(self.master, *size)
            except OSError:  # the last user of the terminal has gone
                return

    # ---- the loop -----------------------------------------------------------------------------

    def wait(self, pid: int, pidfd: int) -> int:
        """Wait for the child `pid` to end. Returns its exit code, or 128 plus the signal that ended it."""
        poll = select.poll()
        poll.register(self._wake_read, _POLLIN)
        poll.register(pidfd, _POLLIN)
        for watched in self._watched:
            poll.register(watched, _POLLIN)
        if self.master >= 0:
            poll.register(self.master, _POLLIN)
            poll.register(0, _POLLIN)
        status: int | None = None
        while status is None:
            for fd, events in poll.poll():
                if fd == self._wake_read:
                    self._signals(pidfd)
                elif fd == pidfd:
                    status = _reap(pid)
                elif fd in self._watched:
                    self._watched[fd]()
                elif fd == self.master:
                    if events & _POLLOUT:
                        self._flush_input(poll)
                    if events & ~_POLLOUT and not self._copy_output():
                        poll.unregister(self.master)
                else:
                    self._read_input(poll)
        if self.master >= 0:
            while self._copy_output():
                pass
        _reap_others()
        code = os.waitstatus_to_exitcode(status)
        return 128 - code if code < 0 else code

    def _signals(self, pidfd: int) -> None:
        try:
            numbers = os.read(self._wake_read, 4096)
        except BlockingIOError:
            return
        for number in numbers:
            if number == signals.SIGWINCH:
                self.resize()
            elif number == signals.SIGCHLD:
                continue
            else:
                try:
                    signals.send(pidfd, number)
                except OSError:
                    continue

    def _copy_output(self) -> bool:
        """Copy what the terminal has to say; False when there is no more."""
        try:
            data = os.read(self.master, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the last user of the terminal has gone
            return False
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]
        return bool(data)

    def _read_input(self, poll: Any) -> None:
        try:
            data = os.read(0, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            # end of input: what a person would have typed
            poll.unregister(0)
            data = b"\x04"
        self._input += data
        self._flush_input(poll)

    def _flush_input(self, poll: Any) -> None:
        try:
            written = os.write(self.master, self._input)
        except BlockingIOError:
            written = 0
        except OSError:
            written = len(self._input)
        self._input = self._input[written:]
        try:
            poll.modify(self.master, _POLLIN | _POLLOUT if self._input else _POLLIN)
        except OSError:  # not polled any more
            return


def terminal_size() -> tuple[int, int] | None:
    """Rows and columns of our terminal; None without one."""
    for fd in (0, 1, 2):
        try:
            size = fcntl.ioctl(fd, _TIOCGWINSZ, bytes(8))
        except OSError:
            continue
        return int.from_bytes(size[0:2], sys.byteorder), int.from_bytes(size[2:4], sys.byteorder)
    return None


def set_terminal_size(terminal: int, rows: int, columns: int) -> None:
    """Set the size of a terminal; who uses it gets SIGWINCH. Raises OSError."""
    size = rows.to_bytes(2, sys.byteorder) + columns.to_bytes(2, sys.byteorder) + bytes(4)
    fcntl.ioctl(terminal, _TIOCSWINSZ, size)


def _reap(pid: int) -> int | None:
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return 0
    return status if found else None


def _reap_others() -> None:
    """Take away orphans that this process, as subreaper, was given."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def receive_master(sock: Any) -> int:
    """The master of a terminal from the socket that the init sent it over. Raises OSError."""
    _, ancillary, _, _ = sock.recvmsg(64, 64, 0x40000000)  # MSG_CMSG_CLOEXEC
    for _, _, payload in ancillary:
        return int.from_bytes(payload[:4], "little", signed=True)
    raise OSError(71, "no terminal came over the console socket")
