"""Terminals: drive a program through a pseudo-terminal, and receive one as engines do."""

from __future__ import annotations

import array
import fcntl
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

LIMIT = 60.0


def set_size(fd: int, rows: int, columns: int) -> None:
    """Resize a terminal."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def get_size(fd: int) -> tuple[int, int]:
    """Rows and columns of a terminal."""
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))
    return rows, columns


class Screen:
    """The master side of a terminal: what was written to it, and keys to press."""

    def __init__(self, master: int) -> None:
        self.master = master
        self.seen = b""

    def send(self, keys: str | bytes) -> None:
        """Type."""
        os.write(self.master, keys.encode() if isinstance(keys, str) else keys)

    def _read(self, deadline: float) -> bool:
        """Read what there is; False at the end of the terminal."""
        ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise AssertionError(f"nothing more came; seen so far: {self.seen!r}")
        try:
            data = os.read(self.master, 65536)
        except OSError:  # EIO: no process has the terminal open any more
            return False
        self.seen += data
        return bool(data)

    def expect(self, text: str | bytes, limit: float = LIMIT) -> bytes:
        """Read until `text` comes, and return all up to and with it.

        Raises:
            AssertionError: it did not come within `limit` seconds, or the terminal ended.
        """
        wanted = text.encode() if isinstance(text, str) else text
        deadline = time.monotonic() + limit
        while wanted not in self.seen:
            if not self._read(deadline):
                raise AssertionError(f"the terminal ended without {wanted!r}: {self.seen!r}")
        before, _, self.seen = self.seen.partition(wanted)
        return before + wanted

    def rest(self, limit: float = LIMIT) -> bytes:
        """Read to the end of the terminal."""
        deadline = time.monotonic() + limit
        while self._read(deadline):
            pass
        rest, self.seen = self.seen, b""
        return rest

    def resize(self, rows: int, columns: int) -> None:
        """Change the size; the foreground process group gets SIGWINCH."""
        set_size(self.master, rows, columns)

    def close(self) -> None:
        """Close the master side: a hang-up."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


class TerminalProcess(Screen):
    """A program that has a terminal as its controlling one, as from a user's shell."""

    def __init__(
        self, command: Sequence[str], *, rows: int = 24, columns: int = 80, cwd: Path | None = None
    ) -> None:
        master, slave = pty.openpty()
        set_size(slave, rows, columns)
        super().__init__(master)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            start_new_session=True,
            # Tests have one thread.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )

    def wait(self, limit: float = LIMIT) -> int:
        """Exit status of the program; reads on, as a full terminal would stop it."""
        deadline = time.monotonic() + limit
        while (status := self.process.poll()) is None:
            ready, _, _ = select.select([self.master], [], [], 0.05)
            if ready:
                self._read(deadline)
            if time.monotonic() > deadline:
                raise AssertionError(f"still running; seen so far: {self.seen!r}")
        while select.select([self.master], [], [], 0)[0] and self._read(deadline):
            pass
        return status

    def modes_restored(self) -> bool:
        """Whether the terminal has the modes again that it had at the start."""
        return termios.tcgetattr(self.slave) == self.before

    def resize(self, rows: int, columns: int) -> None:
        """Change the size and tell the program, as a terminal emulator does."""
        super().resize(rows, columns)
        self.process.send_signal(signal.SIGWINCH)

    def resize_until(self, rows: int, columns: int, text: str, limit: float = LIMIT) -> None:
        """Resize, and tell the program again until `text` comes: it may not listen yet when it has begun to write.

        Raises:
            AssertionError: it did not come within `limit` seconds.
        """
        deadline = time.monotonic() + limit
        while True:
            self.resize(rows, columns)
            try:
                self.expect(text, limit=1)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
            else:
                return

    def __enter__(self) -> TerminalProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.slave)
        self.close()


class ConsoleSocket:
    """The listening socket that `--console-socket` names; receives the terminal's master side."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._listener.settimeout(LIMIT)

    def receive(self) -> Screen:
        """Accept one connection and take the descriptor that is passed on it."""
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(LIMIT)
            fds = array.array("i")
            _, control, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(fds.itemsize))
            for level, kind, data in control:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        assert len(fds) == 1, f"{len(fds)} descriptors were passed"
        return Screen(fds[0])

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> ConsoleSocket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
