"""The library for asyncio: the same as `pyrunc`, with coroutines in place of methods that wait.

    runtime = pyrunc.aio.Runtime()
    async with await runtime.create("box", "/srv/bundle", stdout=pyrunc.PIPE) as container:
        await container.start()
        print(await container.process.stdout.read(), await container.wait())

No threads are made, and no child watcher or signal handler is needed: the event loop waits for pidfds and sockets. What
does not wait for anything but the kernel (writing a cgroup's limits, say) is done at once.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, TypeVar, Unpack

from pyrunc.container import container as containers
from pyrunc.container.events import EventSource
from pyrunc.errors import TimeoutExpired
from pyrunc.library.aio_process import Process, carry, process_of, readable
from pyrunc.library.bundle import Path
from pyrunc.library.core import (
    CheckpointWords,
    CoreContainer,
    CoreRuntime,
    CriuWords,
    Event,
    Pty,
    Result,
    Started,
    take_away,
)
from pyrunc.library.stdio import PIPE, Stdio
from pyrunc.spec import loader

__all__ = ["Container", "Process", "Runtime"]

Self = TypeVar("Self", bound="Container")


class Container(CoreContainer[Process]):
    """A container, as `pyrunc.Container`. `Runtime.create` and `Runtime.get` give it.

    An asynchronous context manager: at its end the container is killed if it runs, and deleted.
    """

    async def start(self) -> None:
        """As `pyrunc.Container.start`. A cancelled one leaves the container stopped."""
        await carry(self._fresh().starting())

    async def wait(self, timeout: float | None = None) -> int:
        """As `pyrunc.Container.wait`. Any number of tasks may."""
        return await carry(self._waiting(timeout))

    async def exec(
        self,
        args: Sequence[str] | None = None,
        *,
        process: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: tuple[int, int] | None = None,
        stdin: Stdio = None,
        stdout: Stdio = None,
        stderr: Stdio = None,
        pty: Pty = None,
        pass_fds: Sequence[int] = (),
        ignore_paused: bool = False,
    ) -> Process:
        """As `pyrunc.Container.exec`. A cancelled one leaves no process."""
        whole = self._exec_process(args, process, env, cwd, user, pty)
        stdio = (stdin, stdout, stderr)
        started = await carry(self._executing(whole, stdio, pass_fds, ignore_paused))
        try:
            return await process_of(started)
        except BaseException:
            take_away(started)
            raise

    async def pause(self) -> None:
        """As `pyrunc.Container.pause`."""
        await carry(self._fresh().pausing())

    async def resume(self) -> None:
        """As `pyrunc.Container.resume`."""
        await carry(self._fresh().resuming())

    async def update(self, resources: Mapping[str, Any]) -> None:
        """As `pyrunc.Container.update`."""
        await carry(self._updating(resources))

    async def events(self, interval: float | None = 5.0) -> AsyncIterator[Event]:
        """As `pyrunc.Container.events`."""
        with EventSource(self._fresh(), interval) as source:
            while not source.ended:
                await readable(source.fileno(), max(0.0, source.due - time.monotonic()))
                for kind, data in source.take():
                    yield Event(kind, self.id, data)

    async def checkpoint(self, image_path: Path, **options: Unpack[CheckpointWords]) -> None:
        """As `pyrunc.Container.checkpoint`."""
        await carry(self._checkpointing(image_path, options))

    async def delete(self, *, force: bool = False) -> None:
        """As `pyrunc.Container.delete`."""
        await carry(self._deleting(force))

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.delete(force=True)
        finally:
            if self.process is not None:
                self.process.close()


class Runtime(CoreRuntime):
    """Makes containers, and finds them, as `pyrunc.Runtime`."""

    async def create(
        self,
        id: str,
        bundle: loader.Bundle | Path,
        *,
        stdin: Stdio = None,
        stdout: Stdio = None,
        stderr: Stdio = None,
        pty: Pty = None,
        pass_fds: Sequence[int] = (),
        pid_file: str = "",
        no_pivot: bool = False,
        no_new_keyring: bool = False,
    ) -> Container:
        """As `pyrunc.Runtime.create`. A cancelled one leaves nothing."""
        steps = self._creating(
            id,
            bundle,
            (stdin, stdout, stderr),
            pty,
            pass_fds,
            pid_file=pid_file,
            no_pivot=no_pivot,
            no_new_keyring=no_new_keyring,
        )
        created, started = await carry(steps)
        return await self._container_of(created, started)

    async def _container_of(self, created: containers.Container, started: Started) -> Container:
        try:
            process = await process_of(started)
        except BaseException:
            created.delete(force=True)
            take_away(started)
            raise
        return Container(created, process, self._rootless)

    async def run(
        self,
        id: str,
        bundle: loader.Bundle | Path,
        *,
        input: bytes | None = None,
        stdin: Stdio = None,
        stdout: Stdio = None,
        stderr: Stdio = None,
        pty: Pty = None,
        pass_fds: Sequence[int] = (),
        timeout: float | None = None,
    ) -> Result:
        """As `pyrunc.Runtime.run`. A cancelled one leaves nothing."""
        if input is not None and stdin is None and not pty:
            stdin = PIPE
        deadline = None if timeout is None else time.monotonic() + timeout
        container = await self.create(
            id, bundle, stdin=stdin, stdout=stdout, stderr=stderr, pty=pty, pass_fds=pass_fds
        )
        async with container:
            await container.start()
            process = container.process
            assert process is not None
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                said, complained = await process.communicate(input, left)
            except TimeoutExpired as error:
                raise error.of(f"container {id}", timeout) from None
            return Result(await process.wait(), said, complained)

    async def restore(
        self,
        id: str,
        bundle: loader.Bundle | Path,
        image_path: Path,
        *,
        stdin: Stdio = None,
        stdout: Stdio = None,
        stderr: Stdio = None,
        **options: Unpack[CriuWords],
    ) -> Container:
        """As `pyrunc.Runtime.restore`. A cancelled one leaves nothing."""
        steps = self._restoring(id, bundle, image_path, (stdin, stdout, stderr), options)
        restored, started = await carry(steps)
        return await self._container_of(restored, started)

    async def get(self, id: str) -> Container:
        """As `pyrunc.Runtime.get`."""
        return Container(self._load(id), None, self._rootless)

    async def list(self) -> list[Container]:
        """As `pyrunc.Runtime.list`."""
        return [Container(found, None, self._rootless) for found in self._load_all()]

    async def delete(self, id: str) -> None:
        """As `pyrunc.Runtime.delete`."""
        await carry(containers.deleting_remains(self.root, id))
