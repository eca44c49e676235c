"""Processes in containers, for asyncio; and how the event loop carries operations."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING, TypeVar

from pyrunc.container.session import close_all
from pyrunc.errors import TimeoutExpired, UsageError
from pyrunc.host.waiting import FOREVER
from pyrunc.library.core import Started
from pyrunc.library.process import BaseProcess

if TYPE_CHECKING:
    from pyrunc.host.waiting import Steps

T = TypeVar("T")
Self = TypeVar("Self", bound="Process")


async def carry(steps: Steps[T]) -> T:
    """Carry an operation to its end, as `pyrunc.host.waiting.finish` does, with the event loop."""
    try:
        fd, seconds = next(steps)
        while True:
            try:
                ready = await readable(fd, seconds)
            except BaseException as error:  # a cancellation: the operation cleans up
                fd, seconds = steps.throw(error)
            else:
                fd, seconds = steps.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result


async def readable(fd: int, seconds: float) -> bool:
    if fd < 0:
        await asyncio.sleep(seconds)
        return False
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def arrived() -> None:
        loop.remove_reader(own)
        if not future.done():
            future.set_result(None)

    # a descriptor has one reader at most: this one may have others already
    own = os.dup(fd)
    try:
        loop.add_reader(own, arrived)
        timeout = None if seconds in (FOREVER, float("inf")) else seconds
        done, _ = await asyncio.wait((future,), timeout=timeout)
        return bool(done)
    finally:
        loop.remove_reader(own)
        os.close(own)


class _ReaderProtocol(asyncio.StreamReaderProtocol):
    def connection_lost(self, exc: Exception | None) -> None:
        # the end of the last user of a terminal
        if isinstance(exc, OSError) and exc.errno == errno.EIO:
            exc = None
        super().connection_lost(exc)


async def _reader(fd: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    loop = asyncio.get_running_loop()
    stream = asyncio.StreamReader()
    file = os.fdopen(fd, "rb", 0)
    transport, _ = await loop.connect_read_pipe(lambda: _ReaderProtocol(stream), file)
    return stream, transport


async def _writer(fd: int) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    unused = asyncio.StreamReader()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(unused), os.fdopen(fd, "wb", 0)
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)


class Process(BaseProcess):
    """A process in a container, as `pyrunc.Process`.

    An asynchronous context manager: at its end the process is killed if it runs, and what is held of it is let go.

    Attributes:
        pid: its pid, as this program sees it.
        stdin: a stream to write to, where stdin is a PIPE or there is a terminal; else None.
        stdout: a stream to read from, likewise.
        stderr: a stream to read from, where stderr is a PIPE; else None.
    """

    stdin: asyncio.StreamWriter | None = None
    stdout: asyncio.StreamReader | None = None
    stderr: asyncio.StreamReader | None = None

    def __init__(self, pid: int, pidfd: int, terminal: int = -1) -> None:
        super().__init__(pid, pidfd, terminal)
        self._transports: list[asyncio.ReadTransport] = []

    async def _connect(self, ends: list[int]) -> None:
        """Make streams of our ends of its pipes, or of its terminal. Closes them when that fails."""
        left = list(ends)
        if self._terminal >= 0:
            left[0], left[1] = os.dup(self._terminal), os.dup(self._terminal)

        def take(number: int) -> int:
            fd, left[number] = left[number], -1
            return fd

        try:
            if left[0] >= 0:
                self.stdin = await _writer(take(0))
            if left[1] >= 0:
                self.stdout, transport = await _reader(take(1))
                self._transports.append(transport)
            if left[2] >= 0:
                self.stderr, transport = await _reader(take(2))
                self._transports.append(transport)
        except BaseException:
            close_all(left)
            raise

    async def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Any number of tasks may.

        Args:
            timeout: in seconds; None for no limit.

        Returns its exit code, or 128 plus the number of the signal that ended it.

        Raises:
            TimeoutExpired: it has not ended in time. It goes on.
            StateError: nobody can tell how it ended.
        """
        return await carry(self._waiting_for_code(timeout))

    async def communicate(
        self, input: bytes | None = None, timeout: float | None = None
    ) -> tuple[bytes | None, bytes | None]:
        """Write to its stdin and close that, read its stdout and stderr to the end, and wait for it.

        Args:
            input: what it reads; stdin must be a PIPE or a terminal.
            timeout: in seconds; None for no limit.

        Returns what came from stdout and from stderr; None for what is not read here.

        Raises:
            UsageError: there is an input and no stdin for it.
            TimeoutExpired: it has not ended in time. The error has what was read.
        """
        if self.stdin is None and input:
            raise UsageError("communicate: there is an input, but stdin is no PIPE")
        parts: list[bytearray | None] = [
            None if stream is None else bytearray() for stream in (self.stdout, self.stderr)
        ]
        tasks = [
            asyncio.ensure_future(part)
            for part in (
                self._write(input),
                _read(self.stdout, parts[0]),
                _read(self.stderr, parts[1]),
                carry(self._waiting(None)),
            )
        ]
        try:
            _, pending = await asyncio.wait(tasks, timeout=timeout)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        said, complained = (None if part is None else bytes(part) for part in parts)
        if pending:
            error = TimeoutExpired(f"process {self.pid}", timeout)
            error.stdout, error.stderr = said, complained
            raise error
        for task in tasks:
            task.result()
        return said, complained

    async def _write(self, input: bytes | None) -> None:
        if self.stdin is None:
            return
        try:
            if input:
                self.stdin.write(input)
                await self.stdin.drain()
            if self._terminal < 0:
                self.stdin.close()
        except (BrokenPipeError, ConnectionResetError):  # nobody reads
            return

    def close(self) -> None:
        """Close stdin, stdout, stderr and the pidfd. The process goes on."""
        if self.stdin is not None:
            self.stdin.close()
        for transport in self._transports:
            transport.close()
        self._let_go()

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._pidfd >= 0 and not self._ended:
                self.kill("KILL")
                await carry(self._waiting(None))
        finally:
            self.close()


async def _read(stream: asyncio.StreamReader | None, into: bytearray | None) -> None:
    if stream is None or into is None:
        return
    while part := await stream.read(65536):
        into += part


async def process_of(started: Started) -> Process:
    process = Process(started.pid, started.pidfd, started.terminal)
    await process._connect(started.ends)
    return process
